"""SQL text to a logical plan; one rule per file."""
