"""Turns examples of the log into the namespaces that their features are in, of contexts and of actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

ENOUGH: Final = 50
"""Events that are looked at: features that are rarer than in one of so many are not what policies are made of."""


class Namespaces(msgspec.Struct, frozen=True, array_like=True):
    """Initials of the namespaces of features, by which policies name them, in order of the alphabet.

    Attributes:
        context: of those that say in which situation an action is chosen; in multi-slot those of slots, too.
        action: of those that say what an action is.
    """

    context: str = "F"
    action: str = "ij"


class _Example(msgspec.Struct, gc=False):
    context: Any = msgspec.field(name="FromUrl")
    actions: Any = msgspec.field(name="_multi")
    slots: Any = msgspec.field(name="_slots", default=None)


class _Line(msgspec.Struct, gc=False):
    example: _Example = msgspec.field(name="c")


_decode = msgspec.json.Decoder(_Line).decode


def of_lines(lines: Iterable[bytes]) -> Namespaces:
    """The namespaces of lines that `features.example` has made the examples of; the usual ones where there are none."""
    context, action = set[str](), set[str]()
    for line in lines:
        example = _decode(line).example
        context |= _initials([{"FromUrl": example.context}, *(example.slots or ())])
        action |= _initials(example.actions)
    usual = Namespaces()
    return Namespaces("".join(sorted(context)) or usual.context, "".join(sorted(action)) or usual.action)


def _initials(part: Any, namespace: str = "") -> set[str]:
    """Initials of the namespaces of decoded JSON: each member is in that of the key of the nearest object around it."""
    if isinstance(part, dict):
        members = [(key, value) for key, value in part.items() if not key.startswith("_")]
        return set[str]().union(
            *(_initials(value, key[:1]) if isinstance(value, dict | list) else {namespace} for key, value in members)
        )
    if isinstance(part, list):
        return set[str]().union(*(_initials(one, namespace) for one in part))
    return {namespace}
