"""The learning policies that are measured, put together of an exploration and the interactions of features."""

from __future__ import annotations

from typing import Final

from shared.loops.policy import DEFAULT_ARGUMENTS, Problem

DEFAULT: Final = DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]
SLOTS: Final = DEFAULT_ARGUMENTS[Problem.MULTI_SLOT]
PAIRS: Final = "-q Fj"
"""Pairs of a context feature and an action's: what the tutorial of Tom and Anna writes as `-q UA`."""
FOUND: Final = "-q :: --cubic FFj --interactions FFFj"
"""Pairs, and two or three context features with an action's: what a search of policies finds for the coffee."""
GREEDY, SOME, MUCH, SQUARECB = "--epsilon 0.0", "--epsilon 0.05", "--epsilon 0.2", "--squarecb"
REGCB = "--regcb --cb_min_cost -1 --cb_max_cost 0"
"""The one exploration that reads the range of costs; this one is that of rewards from 0 to 1."""


def explored(exploration: str, interactions: str) -> str:
    """A policy of VW's own learning rate."""
    return f"--cb_explore_adf {exploration} --cb_type mtr {interactions}".strip()
