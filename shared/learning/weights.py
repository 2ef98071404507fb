"""Turns a model file into its weights, and into whether all of them are numbers that can be reckoned with."""

from __future__ import annotations

import re
from typing import Final

from shared.learning.model import readable

_NOT_FINITE: Final = re.compile(rb"[\x80-\xff][\x7f\xff]")
"""The upper half of a float of 32 bits that is infinite or no number, as a model file has it: the lower byte first."""
_WORD: Final = 4
_NO_NUMBER: Final = re.compile(r"[ :][-+]?(?:nan|inf)", re.IGNORECASE)
_WEIGHT: Final = re.compile(r"(\d+):([^\s:]+)\s*", re.ASCII)


def is_finite(data: bytes) -> bool:
    """Whether all weights of a model are finite; one that is not stays so, whatever is learned, and spreads.

    The weights are the last part of the file, in words of 4 bytes: places in the table, which are too small to be taken
    for anything else here, and floats. So a look through these words, the work of a moment, misses none. What stands
    before them may be taken for one by mistake; then VW's own account in words decides, which takes much longer.

    Args:
        data: a model file that VW loads.

    Raises:
        ModelError: it does not.
    """
    upper = len(data) - _WORD // 2
    if not any((upper - found.start()) % _WORD == 0 for found in _NOT_FINITE.finditer(data)):
        return True
    return not any(_NO_NUMBER.search(line) for line in readable(data) if not line.startswith("options:"))


def weights(data: bytes) -> dict[int, float]:
    """The weights of a model that are not zero, by their place in the table.

    Args:
        data: a model file that VW loads; a large one takes seconds, in which nothing else runs in this process.

    Raises:
        ModelError: it does not.
    """
    found = (_WEIGHT.fullmatch(line) for line in readable(data))
    return {int(match[1]): float(match[2]) for match in found if match}
