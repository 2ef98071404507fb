"""Turns an action, its context and a model into what each feature adds to the reward that the model expects.

That is the feature's weight times its value, its sign turned, since VW learns costs (contract 5.12; docs/adr/0033).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import orjson

from shared.learning import crossing, named
from shared.learning.crossing import Places
from shared.learning.table import Table

MOST: Final = 20_000
"""Combinations of an action's features that are looked at for a call: those of 200 features in pairs."""
_SHAPES: Final = 16
"""Kinds of actions whose combinations are remembered."""
_KEPT: Final = 1_000
"""Actions whose features are remembered: the same ones come back with many calls."""
_LONGEST: Final = 4_096
"""Bytes of one that is remembered."""


Share = tuple[str, float]
"""What a feature, or several that come together, adds to the reward that is expected: the name, `^` between those of
several, and the score in units of the reward, positive where it speaks for the action."""


class _Part(NamedTuple):
    """The features of an action, or of the context, in the order of VW's example.

    Attributes:
        names: of each.
        initials: of their namespaces.
        places, first, values: as arrays; see `Table.weights`.
    """

    names: Sequence[str]
    initials: str
    places: bytes
    first: bytes
    values: bytes


_NO_PLACE, _NO_VALUE = array("q", [0]).tobytes(), array("f", [1.0]).tobytes()
"""Those of no feature; see `crossing.combinations`."""


class _Columns(NamedTuple):
    """See `crossing.combinations`; as arrays and as lists, of which a few are read."""

    arrays: list[Places]
    lists: list[list[int]]


class Explainer:
    """Explains what one model makes of actions.

    Args:
        table: of its weights.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._remembered = lru_cache(_KEPT)(self._read)
        self._columns = lru_cache(_SHAPES)(self._combined)

    def shares(self, context: bytes, action: bytes, shown: int | None = None, most: int = MOST) -> list[Share] | None:
        """What each feature of an action and its context adds, the strongest first, those that add nothing left out.

        None is returned where the model does not choose by such a sum, or where there are too many to look at.

        Args:
            context: as it stands in the example: the array under `FromUrl`.
            action: the element of `_multi`.
            shown: of how many at most; None for all.
            most: combinations of features that are looked at.
        """
        if not self._table.additive:
            return None
        own, shared = self._part(action), self._read(context, "FromUrl")
        # As VW has it: an action's features stand before those that it shares with the others.
        columns = self._columns(own.initials + shared.initials, most)
        if columns is None:
            return None
        places = np.frombuffer(own.places + shared.places + _NO_PLACE, np.int64)
        first = np.frombuffer(own.first + shared.first + _NO_PLACE, np.int64)
        values = np.frombuffer(own.values + shared.values + _NO_VALUE, np.float32)
        scores = self._table.weights(places, first, columns.arrays)
        for column in columns.arrays:
            scores *= values.take(column)
        strongest = np.abs(scores).argsort()[::-1][:shown]
        names, found = [*own.names, *shared.names, ""], list[Share]()
        for n, score in zip(strongest.tolist(), scores.take(strongest).tolist(), strict=True):
            if not score:
                break  # as all that follow
            found.append(("^".join([name for column in columns.lists if (name := names[column[n]])]), -score))
        return found

    def _part(self, action: bytes) -> _Part:
        return self._remembered(action) if len(action) <= _LONGEST else self._read(action)

    def _read(self, text: bytes, namespace: str = " ") -> _Part:
        found = named.features(orjson.loads(text), namespace)
        if self._table.kept or self._table.ignored:
            found = [one for one in found if self._seen(one[0][0])]
        if not found:
            return _Part((), "", b"", b"", b"")
        known = self._table.place
        names, initials, places, first = zip(*[known(of, name, hashed) for of, name, hashed, _ in found], strict=True)
        return _Part(
            names,
            "".join(initials),
            array("q", places).tobytes(),
            array("q", first).tobytes(),
            array("f", [value for _, _, _, value in found]).tobytes(),
        )

    def _seen(self, initial: str) -> bool:
        kept = self._table.kept
        return initial not in self._table.ignored and (not kept or initial in kept)

    def _combined(self, initials: str, most: int) -> _Columns | None:
        columns = crossing.combinations(self._table.interactions, initials, self._table.silent, most)
        return None if columns is None else _Columns(columns, [column.tolist() for column in columns])
