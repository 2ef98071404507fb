"""Turns what was decided elsewhere, and how it went, into lines that a loop learns before its own."""
