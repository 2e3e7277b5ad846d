"""Ways in. At present files, read for `headrace replay`; formats are registered in `registry`."""
