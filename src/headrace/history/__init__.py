"""The past of every view: what changed at each version, kept on disk beside the log."""
