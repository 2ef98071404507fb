"""Turns examples of the log into the namespaces that their features are in, of contexts and of actions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

ENOUGH: Final = 50
"""Events that are looked at: features that are rarer than in one of so many are not what policies are made of."""


class Namespaces(msgspec.Struct, frozen=True, array_like=True):
    """Namespaces by their initials, as policies name them, each with its features in an event: the most that were seen.

    Attributes:
        context: of what says in which situation an action is chosen; in multi-slot with all slots.
        action: of what says what an action is, over all actions.
    """

    context: Mapping[str, int]
    action: Mapping[str, int]


USUAL: Final = Namespaces({"F": 1}, {"i": 2, "j": 1})
"""What there is where no features are nested (contract 6)."""


class _Example(msgspec.Struct, gc=False):
    context: Any = msgspec.field(name="FromUrl")
    actions: Any = msgspec.field(name="_multi")
    slots: Any = msgspec.field(name="_slots", default=None)


class _Line(msgspec.Struct, gc=False):
    example: _Example = msgspec.field(name="c")


_decode = msgspec.json.Decoder(_Line).decode


def of_lines(lines: Iterable[bytes]) -> Namespaces:
    """The namespaces of lines that `features.example` has made the examples of; the usual ones where there are none."""
    context, action = Counter[str](), Counter[str]()
    for line in lines:
        example = _decode(line).example
        # Of counters `|` keeps the larger numbers.
        context |= Counter(_initials([{"FromUrl": example.context}, *(example.slots or ())]))
        action |= Counter(_initials(example.actions))
    return Namespaces(_sorted(context) or USUAL.context, _sorted(action) or USUAL.action)


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _initials(part: Any, namespace: str = "") -> Iterator[str]:
    """The initial of each feature's namespace, which is the key of the nearest object or array around it."""
    if isinstance(part, dict):
        for key, value in part.items():
            if not key.startswith("_"):
                yield from _initials(value, key[:1] if isinstance(value, dict | list) else namespace)
    elif isinstance(part, list):
        for one in part:
            yield from _initials(one, namespace)
    else:
        yield namespace
