"""The log: events into journal rows, closed journal rows into the joined log."""
