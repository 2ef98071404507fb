"""Turns logged decisions into the reward that a model of rewards expects of each action, before it learns of them.

By it a doubly robust estimate knows what a policy would earn where the log does not say (Dudík, Langford and Li, 2011).
It is progressive, so it never expects what it has seen; and it is kept within the range of rewards.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.decisions import Decisions
from shared.evaluation.scores import Numbers
from shared.learning.model import Learner, ModelError, of_actions
from shared.log.rows import compress, decompress

ARGUMENTS: Final = "--cb_adf --rank_all --cb_type mtr -l 0.05 -q ::"


class Judge:
    """A model of rewards.

    Args:
        data: what it has learned, or None.
        reward_range: the lowest and highest reward.

    Raises:
        ModelError: VW does not take the file.
    """

    def __init__(self, data: bytes | None, reward_range: tuple[float, float]) -> None:
        self._learner = Learner(ARGUMENTS, data)
        self._range = reward_range

    def expect(self, decisions: Decisions) -> Numbers:
        """What it expects of each action of each decision, one after the other, as it learns them.

        Of what VW cannot read it expects nothing: the reward that is nearest to 0.
        """
        costs = array("d")
        told = self._learner.replay(decisions.singles, of_actions)
        for expected, count in zip(told, decisions.counts.tolist(), strict=True):
            if isinstance(expected, ModelError) or len(expected) != count:
                costs.extend([0.0] * count)
            else:
                costs.extend(expected)
        low, high = self._range
        # To the precision of VW, so that they are the same numbers once they were stored.
        rewards: NDArray[np.float32] = np.clip(0.0 - np.array(costs, np.float32), low, high)
        return rewards.astype(np.float64)

    def model(self) -> bytes:
        """What it has learned."""
        return self._learner.save()

    def close(self) -> None:
        """Free VW's memory."""
        self._learner.close()


class Told:
    """What a model of rewards has expected already of each action of a run of decisions.

    Args:
        data: what `pack` gave of it; None for a model that expects nothing of anything.

    Raises:
        StorageError: it is damaged.
    """

    def __init__(self, data: bytes | None) -> None:
        self._known = None if data is None else np.frombuffer(decompress(data), "<f4")
        self._place = 0

    def expect(self, decisions: Decisions) -> Numbers:
        """Those of the decisions that follow."""
        count = int(decisions.counts.sum())
        if self._known is None:
            return np.zeros(count)
        self._place += count
        return self._known[self._place - count : self._place].astype(np.float64)


def pack(expected: Iterable[Numbers]) -> bytes:
    """The expected rewards of a run of decisions as bytes."""
    return compress([b"".join(part.astype("<f4").tobytes() for part in expected)])
