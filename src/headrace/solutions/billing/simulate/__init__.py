"""Made-up merchants and their customers' lives, with books that are kept beside, in plain Python."""
