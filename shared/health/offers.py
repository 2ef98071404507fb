"""Turns which actions events offered together into the groups of actions that were never offered with another group's.

Actions are known by hashes of their ids. Where there are very many this gives up, since groups that small tell nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

MOST = 256
"""Actions whose groups are known."""


class Offers(msgspec.Struct, frozen=True):
    """Which actions were offered together.

    Attributes:
        groups: each action by its hash, with the one that stands for its group.
        many: whether there are more actions than this can tell.
    """

    groups: list[tuple[int, int]] = []
    many: bool = False

    @property
    def apart(self) -> int:
        """How many groups there are; 0 where there are too many actions to tell."""
        return 0 if self.many else len({group for _, group in self.groups})


def of(sets: Iterable[tuple[int, ...]]) -> Offers:
    """The groups that some sets of actions make."""
    parent: dict[int, int] = {}

    def root(action: int) -> int:
        while (above := parent.setdefault(action, action)) != action:
            parent[action] = action = parent[above]
        return action

    for actions in sets:
        for action in actions:
            parent[root(action)] = root(actions[0])
        if len(parent) > MOST:
            return Offers(many=True)
    return Offers(sorted((action, root(action)) for action in list(parent)))


def merge(one: Offers, other: Offers) -> Offers:
    """The groups of two runs."""
    if one.many or other.many:
        return Offers(many=True)
    return of([*one.groups, *other.groups])
