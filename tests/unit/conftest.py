"""Settings of Hypothesis for all unit tests: the same examples on every machine, and none fails for being slow."""

from hypothesis import settings

settings.register_profile("rankloop", derandomize=True, deadline=None, database=None)
settings.load_profile("rankloop")
