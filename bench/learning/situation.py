"""Turns a visit of a simulated world into the rank call that it makes, and a choice into what it earns."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Features = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Situation:
    """One event before it is decided.

    Attributes:
        context: the context features.
        actions: the `actions` of the rank call as JSON, so that those that always come are written once.
        rewards: what each action earns here, by its id; in multi-slot by the slot's id, a slash and the action's.
        slots: the `slots` of a multi-slot rank call as JSON, or None.
        expected: what each action earns on average, where what it earns is drawn.
    """

    context: Sequence[Features]
    actions: bytes
    rewards: Mapping[str, float]
    slots: bytes | None = None
    expected: Mapping[str, float] | None = None

    def body(self, event_id: str) -> bytes:
        """The rank call.

        Args:
            event_id: of plain characters.
        """
        slots = b"" if self.slots is None else b',"slots":' + self.slots
        context = orjson.dumps(self.context)
        return b'{"contextFeatures":%b,"actions":%b%b,"eventId":"%b"}' % (
            context,
            self.actions,
            slots,
            event_id.encode(),
        )


World = Callable[[random.Random], Iterator[Situation]]
"""Situations without end, or until a data set is used up; the same for the same seed."""


def listed(actions: Mapping[str, Features | Sequence[Features]]) -> bytes:
    """The `actions` of a rank call.

    Args:
        actions: their features by id.
    """
    return orjson.dumps(
        [{"id": name, "features": list(own) if isinstance(own, Sequence) else [own]} for name, own in actions.items()]
    )
