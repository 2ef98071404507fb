"""Turns the end of a model file into the table of its weights: far quicker than asking VW for one after the other.

Each weight that is not zero has a record there: its place, itself, and how much of its state the policy keeps, in words
of 4 bytes. Nobody promises that, so VW is asked for some of what was read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]
_WORDS: Final = (2, 3, 4)
"""Of a record. Fewer first: every second record of two words would pass for one of four."""
_ASKED: Final = 64


def table(data: bytes, size: int, ask: Callable[[int], float]) -> Weights | None:
    """The weights by their places; None where the file is not laid out as expected.

    Args:
        data: a model file.
        size: places that there are.
        ask: what VW says of one.
    """
    for words in _WORDS:
        records = np.frombuffer(data[len(data) % (4 * words) :], "<u4").reshape(-1, words)
        places, found = records[:, 0].astype(np.int64), records[:, 1].copy().view("<f4")
        wrong = np.flatnonzero((places >= size) | (np.diff(places, prepend=-1) <= 0))
        first = int(wrong[-1]) if len(wrong) else 0  # a record like others, where only the one before is none
        while first < len(places) and (places[first] >= size or ask(int(places[first])) != found[first]):
            first += 1
        asked = np.unique(np.linspace(first, len(places) - 1, _ASKED).astype(int)) if first < len(places) else ()
        if len(asked) and all(ask(int(places[n])) == found[n] for n in asked):
            weights = np.zeros(size, np.float32)
            weights[places[first:]] = found[first:]
            return weights
    return None
