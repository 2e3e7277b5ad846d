"""Window functions over rows in order: what to read, which rows a frame holds, and what a call answers."""
