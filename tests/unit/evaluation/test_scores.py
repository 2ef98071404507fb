"""Columns of scores: through bytes and back, joined, and chosen from."""

from __future__ import annotations

import random

import numpy as np
import pytest

from shared.evaluation import scores
from shared.evaluation.scores import Scores
from shared.log.rows import compress
from shared.storage import StorageError
from tests.unit.evaluation.logged import alike


def drawn(count: int) -> Scores:
    chance = random.Random(count)
    return scores.of_rows(
        [[1_700_000_000 + n / 8, n % 2, n % 3, *(chance.random() for _ in range(5))] for n in range(count)]
    )


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_scores_come_back_from_their_bytes(count: int) -> None:
    made = drawn(count)
    found = scores.unpack(scores.pack(made))

    assert found.decisions == count
    assert alike(found, made)
    assert [column.dtype for column in found] == [np.float64, np.int16, np.int16, *[np.float64] * 5]


def test_runs_that_follow_each_other_are_one() -> None:
    whole = drawn(10)
    parts = [whole.where(slice(0, 3)), scores.of_rows(()), whole.where(slice(3, 10))]

    assert [part.decisions for part in parts] == [3, 0, 7]
    assert alike(scores.join(parts), whole)
    assert alike(scores.join(iter(())), scores.of_rows(()))


def test_decisions_are_chosen_by_a_column_of_truths() -> None:
    made = drawn(9)
    second = made.where(made.slots == 1)

    assert second.decisions == 3
    assert set(second.slots) == {1}
    assert second.rewards.tolist() == made.rewards[1::3].tolist()


def test_bytes_of_a_later_release_and_damaged_ones_are_refused() -> None:
    with pytest.raises(StorageError, match="format 03; this release reads 02"):
        scores.unpack(compress([b"\x03"]))
    with pytest.raises(StorageError, match="format none"):
        scores.unpack(compress([b""]))
    with pytest.raises(StorageError, match="7 bytes are left of 0 rows"):
        scores.unpack(compress([b"\x02 and on"]))
    with pytest.raises(StorageError, match="damaged"):
        scores.unpack(b"no frame")
