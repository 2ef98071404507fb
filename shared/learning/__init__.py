"""Learning: the joined log into model versions, and model versions into what Rank serves."""
