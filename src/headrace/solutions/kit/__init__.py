"""What solutions share: a server beside a demo, and the comparison of views with books kept elsewhere."""
