"""Turns an action, its context and a model into what each feature adds to the reward that the model expects.

That is the feature's weight times its value, its sign turned, since VW learns costs (contract 5.12; docs/adr/0033).
"""

from __future__ import annotations

from array import array
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
_KEPT: Final = 2_000
"""Actions and contexts whose features are remembered: the same ones come back with many calls."""
_LONGEST: Final = 4_096
"""Bytes of one that is remembered."""


Share = tuple[str, float]
"""What a feature, or several that come together, adds to the reward that is expected: the name, `^` between those of
several, and the score in units of the reward, positive where it speaks for the action."""


class _Part(NamedTuple):
    """The features of an action, or of the context.

    Attributes:
        names: of each.
        initials: of their namespaces.
        hashes, values: as arrays.
    """

    names: list[str]
    initials: str
    hashes: bytes
    values: bytes


_NO_HASH, _NO_VALUE = array("Q", [0]).tobytes(), array("f", [1.0]).tobytes()
"""Those of no feature; see `crossing.combinations`."""


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
        own, shared = self._part(action), self._part(b'{"FromUrl":%b}' % context)
        # As VW has it: an action's features stand before those that it shares with the others.
        columns = self._columns(own.initials + shared.initials, most)
        if columns is None:
            return None
        hashes = np.frombuffer(own.hashes + shared.hashes + _NO_HASH, np.uint64)
        values = np.frombuffer(own.values + shared.values + _NO_VALUE, np.float32)
        scores = self._table.weights(hashes, columns)
        for column in columns:
            scores *= values.take(column)
        strongest = np.abs(scores).argsort()[::-1][:shown]
        names, found = own.names + shared.names, list[Share]()
        for score, *of in zip(
            scores.take(strongest).tolist(), *[column.take(strongest).tolist() for column in columns], strict=True
        ):
            if not score:
                break  # as all that follow
            found.append(("^".join([names[n] for n in of if n < len(names)]), -score))
        return found

    def _part(self, text: bytes) -> _Part:
        return self._remembered(text) if len(text) <= _LONGEST else self._read(text)

    def _read(self, text: bytes) -> _Part:
        found = named.features(orjson.loads(text))
        initials = "".join([namespace[0] for namespace, _, _, _ in found])
        if self._table.kept or not self._table.ignored.isdisjoint(initials):
            found = [one for one, initial in zip(found, initials, strict=True) if self._seen(initial)]
            initials = "".join(filter(self._seen, initials))
        return _Part(
            [f"{namespace}.{name}" for namespace, name, _, _ in found],
            initials,
            array("Q", [self._table.hash(namespace, hashed) for namespace, _, hashed, _ in found]).tobytes(),
            array("f", [value for _, _, _, value in found]).tobytes(),
        )

    def _seen(self, initial: str) -> bool:
        kept = self._table.kept
        return initial not in self._table.ignored and (not kept or initial in kept)

    def _combined(self, initials: str, most: int) -> list[Places] | None:
        return crossing.combinations(self._table.interactions, initials, self._table.silent, most)
