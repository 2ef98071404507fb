"""Measures what a loop learns: worlds to play, the product's own code to play them, and plain VW beside it."""
