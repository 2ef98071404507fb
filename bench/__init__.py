"""Measurements that print ratios: each against a baseline of the same run, since absolute times are noise."""
