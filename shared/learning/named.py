"""Turns the JSON of an example, or of a part of it, into its features by name, as VW reads them (contract 6)."""

from __future__ import annotations

import re
from typing import Any, Final

Feature = tuple[str, str, str | int, float]
"""A feature that VW makes of a member: its namespace, which is the key of the nearest object or array around it; its
name, which is the member's key, or the index in brackets in an array of numbers; what its place in the model follows
from, a text that VW hashes or the index; and what it counts with, which is never 0."""

_BLANK: Final = str.maketrans(" \t:|", "____")
"""What VW writes in place of characters that its own text form gives a meaning; in values only."""
_has_blank = re.compile(r"[ \t:|]").search  # which is asked in a tenth of the time that the translation takes


def features(part: Any, namespace: str = " ") -> list[Feature]:
    """The features of decoded JSON, in the order in which VW reads them.

    Args:
        part: an object, or an array of objects or of numbers: `{"FromUrl": ...}`, or an element of `_multi`.
        namespace: that its own members are in.
    """
    found: list[Feature] = []
    _read(part, namespace, found)
    return found


def _read(part: Any, namespace: str, found: list[Feature]) -> None:
    # By the exact types that decoding makes: each explained ranking comes through here.
    if type(part) is dict:
        for key, value in part.items():
            if key[:1] == "_":
                continue
            kind = type(value)
            if kind is str:
                hashed = key + (value.translate(_BLANK) if _has_blank(value) else value)
                found.append((namespace, key, hashed, 1.0))
            elif kind is dict or kind is list:
                _read(value, key, found)
            elif value:
                found.append((namespace, key, key, float(value)))
    else:
        for index, item in enumerate(part):
            if type(item) is dict:
                _read(item, namespace, found)
            elif item:
                found.append((namespace, f"[{index}]", index, float(item)))
