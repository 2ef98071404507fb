"""Turns names of features into a live model's weights of them and of their combinations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.learning import packed

Places = NDArray[np.int64]
Known = tuple[str, str, int, int]
"""Of a feature its whole name, the initial of its namespace, its place, and that as the first of several."""
_PRIME: Final = 16777619
"""By which VW hashes combinations (FNV)."""
_CROSSINGS: Final = re.compile(r"--(?:quadratic|cubic|interactions) (\S+)")
_LEFT_OUT: Final = re.compile(r"--(ignore|ignore_linear|keep) (\S)(?=\s|$)")
_OTHER: Final = re.compile(
    r"--(?:first|bag|cover|softmax|squarecb|rnd|regcb|synthcover|marginal|ccb_explore_adf)(?=\s|$)"
)
"""What makes the choice more than a sum of weights: explorations other than the default one, tables beside the weights,
and slots."""
_NAMES: Final = 20_000
"""Features whose places are remembered."""
_LONGEST: Final = 256
"""Characters of one that is."""


class Table:
    """The weights of a live model.

    Args:
        workspace: VW's.
        data: the model file that it has loaded.

    Attributes:
        additive: whether what the model expects of an action is the sum of the weights of its features times their
            values, and the choice goes by that.
        interactions: of its policy; see `crossing.combinations`.
        ignored, kept, silent: initials of the namespaces that VW leaves out, that alone it takes (if any), and of which
            it takes combinations only.
    """

    def __init__(self, workspace: Any, data: bytes) -> None:
        arguments: str = workspace.get_arguments()
        self._workspace = workspace
        self._data = data
        self._size: int = workspace.num_weights()
        self.additive = _OTHER.search(arguments) is None
        self.interactions: Sequence[str] = tuple(_CROSSINGS.findall(arguments))
        left_out = _LEFT_OUT.findall(arguments)
        self.ignored, self.kept, self.silent = (
            frozenset(initial for name, initial in left_out if name == option)
            for option in ("ignore", "keep", "ignore_linear")
        )
        self._width = 2 if "--cb_type dr" in arguments else 1  # beside each weight one of the estimate of rewards
        self._remembered = lru_cache(_NAMES)(self._place)

    def place(self, namespace: str, name: str, hashed: str | int) -> Known:
        """What is known of a feature; see `named.Feature`."""
        if isinstance(hashed, str) and len(hashed) > _LONGEST:
            return self._place(namespace, name, hashed)
        return self._remembered(namespace, name, hashed)

    def _place(self, namespace: str, name: str, hashed: str | int) -> Known:
        space: int = self._workspace.hash_space(namespace)
        of_it: int = space + hashed if isinstance(hashed, int) else self._workspace.hash_feature(hashed, space)
        place, mask = of_it * self._width, self._size - 1
        return f"{namespace}.{name}", namespace[0], place & mask, place * _PRIME & mask

    def weights(self, places: Places, first: Places, columns: Sequence[NDArray[np.intp]]) -> NDArray[np.float32]:
        """The weights of combinations of features.

        Args:
            places: of the features, and a 0 behind them for no feature.
            first: the same as the first of several.
            columns: see `crossing.combinations`.
        """
        if len(columns) > 1:
            combined = first.take(columns[0])
            for column in columns[1:-1]:
                combined ^= places.take(column)
                combined *= _PRIME
            combined ^= places.take(columns[-1])
            if len(columns) > 2:
                combined &= self._size - 1
            places = combined
        else:
            places = places.take(columns[0])
        if (known := self._known) is not None:
            return known.take(places)
        return np.array([self._weight(place) for place in places.tolist()], np.float32)

    def _weight(self, place: int) -> float:
        weight: float = self._workspace.get_weight(place, 0)
        return weight

    @cached_property
    def _known(self) -> NDArray[np.float32] | None:
        return packed.table(self._data, self._size, self._weight)
