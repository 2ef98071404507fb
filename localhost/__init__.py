"""Serves the function app on this machine, without Azure."""
