"""Turns names of features into a live model's weights of them and of their combinations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.learning import packed

Hashes = NDArray[np.uint64]
_PRIME: Final = np.uint64(16777619)
"""By which VW hashes combinations (FNV)."""
_CROSSINGS: Final = re.compile(r"--(?:quadratic|cubic|interactions) (\S+)")
_LEFT_OUT: Final = re.compile(r"--(ignore|ignore_linear|keep) (\S)(?=\s|$)")
_OTHER: Final = re.compile(
    r"--(?:first|bag|cover|softmax|squarecb|rnd|regcb|synthcover|marginal|ccb_explore_adf)(?=\s|$)"
)
"""What makes the choice more than a sum of weights: explorations other than the default one, tables beside the weights,
and slots."""
_NAMES: Final = 20_000
"""Features whose hashes are remembered."""


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
        hash: of a feature, which names its place; see `named.Feature`.
    """

    def __init__(self, workspace: Any, data: bytes) -> None:
        arguments: str = workspace.get_arguments()
        self._workspace = workspace
        self._data = data
        self._size: int = workspace.num_weights()
        self._mask = np.uint64(self._size - 1)
        self.additive = _OTHER.search(arguments) is None
        self.interactions: Sequence[str] = tuple(_CROSSINGS.findall(arguments))
        left_out = _LEFT_OUT.findall(arguments)
        self.ignored, self.kept, self.silent = (
            frozenset(initial for name, initial in left_out if name == option)
            for option in ("ignore", "keep", "ignore_linear")
        )
        self._width = 2 if "--cb_type dr" in arguments else 1  # beside each weight one of the estimate of rewards
        self.hash = lru_cache(_NAMES)(self._hash)

    def _hash(self, namespace: str, hashed: str | int) -> int:
        space: int = self._workspace.hash_space(namespace)
        of_it: int = space + hashed if isinstance(hashed, int) else self._workspace.hash_feature(hashed, space)
        return of_it * self._width

    def weights(self, hashes: Hashes, columns: Sequence[NDArray[np.intp]]) -> NDArray[np.float32]:
        """The weights of combinations of features.

        Args:
            hashes: of the features, and a 0 behind them for no feature.
            columns: see `crossing.combinations`.
        """
        combined = hashes.take(columns[0])
        for column in columns[1:]:
            combined *= _PRIME
            combined ^= hashes.take(column)
        combined &= self._mask
        places = combined.view(np.int64)
        if (known := self._known) is not None:
            return known.take(places)
        return np.array([self._weight(place) for place in places.tolist()], np.float32)

    def _weight(self, place: int) -> float:
        weight: float = self._workspace.get_weight(place, 0)
        return weight

    @cached_property
    def _known(self) -> NDArray[np.float32] | None:
        return packed.table(self._data, self._size, self._weight)
