"""The parts of an aggregate: each keeps what its calls need, by group slot; one family per file."""
