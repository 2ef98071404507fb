"""Measurements that print ratios, each against a baseline of the same run; only a start has goals in seconds."""
