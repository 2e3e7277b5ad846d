"""The `headrace` command: one verb a file; data on stdout, messages on stderr."""
