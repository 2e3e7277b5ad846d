"""Recovery of a run's state; runs on disk and checkpoints join it here."""
