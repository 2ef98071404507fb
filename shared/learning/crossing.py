"""Turns a policy's interactions and an action's features into the combinations of features that VW makes of them.

VW crosses groups: all features of the namespaces that begin with one letter. The order in which it takes them decides
where the weights of combinations are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

WILD: Final = ":"
_TERM: Final = 40
"""As how many combinations it counts to look for those of one combination of groups."""
Places = NDArray[np.intp]


def combinations(interactions: Sequence[str], initials: str, silent: frozenset[str], most: int) -> list[Places] | None:
    """The features, and their combinations as VW makes them, each once.

    Args:
        interactions: as a policy names them, each two or more initials of namespaces, with `:` for any.
        initials: of the namespace of each feature, in the order of VW's example.
        silent: initials of the namespaces whose features count in combinations only.
        most: combinations that are listed; None is returned where that is more work, or takes many more groups.

    Returns:
        Columns of equal length: the positions of the first features of all, of the second ones... A single feature and
        shorter combinations have `len(initials)` in front, the position of no feature.
    """
    positions = {one: np.array([n for n, other in enumerate(initials) if other == one]) for one in set(initials)}
    listed = [[np.array([n for n, initial in enumerate(initials) if initial not in silent], np.intp)]]
    terms = sum(
        math.comb(len(positions) + spec.count(WILD) - 1, spec.count(WILD)) for spec in interactions if positions
    )
    left = most - len(initials) - _TERM * terms
    if left < 0:
        return None
    for groups in crossed(interactions, sorted(positions)):
        columns = _of_groups([positions[group] for group in groups], groups, left)
        if columns is None:
            return None
        listed.append(columns)
        left -= len(columns[0])
    longest = max(map(len, listed))
    for columns in listed:
        nothing = np.full(len(columns[0]), len(initials), np.intp)
        columns[:0] = [nothing] * (longest - len(columns))
    return [np.concatenate(column) for column in zip(*listed, strict=True)]


def crossed(interactions: Sequence[str], initials: Sequence[str]) -> list[str]:
    """The groups that are crossed, of those that have features.

    The same ones in several orders are crossed once, in the first of the orders by the alphabet.

    Args:
        interactions: as for `combinations`.
        initials: of the namespaces, in order.
    """
    found: dict[str, str] = {}
    for spec in interactions:
        for picked in combinations_with_replacement(initials, spec.count(WILD)):
            wild = iter(picked)
            groups = "".join(next(wild) if letter == WILD else letter for letter in spec)
            ordered = "".join(sorted(groups))
            if any(a == b for a, b in pairwise(ordered)):
                groups = ordered  # a group that is crossed with itself stands next to itself
            if set(groups) <= set(initials):
                found[ordered] = min(groups, found.get(ordered, groups))
    return list(found.values())


def _of_groups(groups: Sequence[Places], names: str, most: int) -> list[Places] | None:
    """The combinations of one feature of each group; of a group that comes again, no earlier feature than before."""
    columns, rank = [groups[0]], np.arange(len(groups[0]))
    for number, positions in enumerate(groups[1:], 1):
        first = rank if names[number] == names[number - 1] else np.zeros_like(rank)
        counts = len(positions) - first
        total = int(counts.sum())
        if total > most:
            return None
        rank = np.arange(total) - np.repeat(np.cumsum(counts) - counts - first, counts)
        columns = [np.repeat(column, counts) for column in columns]
        columns.append(positions[rank])
    return columns
