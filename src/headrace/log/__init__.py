"""The durable, ordered, replayable record of all input."""
