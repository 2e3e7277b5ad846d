"""The operators of a circuit, one per file; each opens with its definition in changes."""
