"""Order lines as they come out of a shop's books, with their cancellations, corrections and gaps."""
