"""Learning loops: their identity, service settings and learning policy."""
