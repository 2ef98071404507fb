"""Turns two model versions into what differs between them; no storage."""

from __future__ import annotations

import math
from collections.abc import Mapping

from shared.contract.errors import ApiError
from shared.contract.models import ToldDifference, ToldOption, ToldWeights
from shared.learning.registry import Version
from shared.loops import options


def difference(version: Version, other: Version, weights: ToldWeights | None) -> ToldDifference:
    """How a version differs from another one.

    Args:
        version: its record.
        other: that of the other one.
        weights: how far their weights are apart, if that is known.
    """
    reward = None if version.reward is None or other.reward is None else version.reward - other.reward
    return ToldDifference(
        version.version,
        other.version,
        changed(version.arguments, other.arguments),
        [version.mode, other.mode],
        version.events - other.events,
        reward,
        weights,
    )


def changed(arguments: str, other: str) -> list[ToldOption]:
    """The options that differ between two command lines, by name; those that a release does not know are one text."""
    mine, theirs = _values(arguments), _values(other)
    found = []
    for name in sorted(mine.keys() | theirs.keys()):
        if name not in theirs:
            found.append(ToldOption(name, "added", mine[name]))
        elif name not in mine:
            found.append(ToldOption(name, "removed", other=theirs[name]))
        elif mine[name] != theirs[name]:
            found.append(ToldOption(name, "changed", mine[name], theirs[name]))
    return found


def _values(arguments: str) -> dict[str, list[str]]:
    try:
        given = options.read(arguments)
    except ApiError:
        return {"": [arguments]}  # of options that only a later release knows
    found: dict[str, list[str]] = {}
    for option in given:
        found.setdefault(option.name, []).append(option.value)
    return {name: sorted(values) for name, values in found.items()}


def apart(mine: Mapping[int, float], theirs: Mapping[int, float]) -> ToldWeights:
    """How far two tables of weights are apart, each by place and without its zeros."""
    changes = [mine.get(place, 0.0) - theirs.get(place, 0.0) for place in mine.keys() | theirs.keys()]
    largest = max(map(abs, changes), default=0.0)
    return ToldWeights(len(mine), len(theirs), sum(change != 0.0 for change in changes), largest, math.hypot(*changes))
