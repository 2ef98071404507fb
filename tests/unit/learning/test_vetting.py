"""Whether a newer model does far worse than an older one, from what both would have cost."""

from __future__ import annotations

import math
import random

import pytest

from shared.learning.vetting import ENOUGH, LEAST, far_below


def worlds(count: int, loss: float, seed: int) -> tuple[list[float | None], list[float | None]]:
    """What a newer and an older model cost on events of which one in two is rewarded; the newer one errs more often."""
    r = random.Random(seed)
    newer: list[float | None] = []
    older: list[float | None] = []
    for _ in range(count):
        reward = float(r.random() < 0.5)
        right = r.random() < loss
        older.append(-reward * 1.6)
        newer.append(-reward * (0.2 if right else 1.6))
    return newer, older


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("loss", "held"), [(0.0, False), (0.05, False), (0.5, True), (1.0, True)])
def test_a_clear_loss_is_told_and_a_small_one_is_not(loss: float, held: bool, seed: int) -> None:
    newer, older = worlds(1000, loss, seed)

    assert (far_below(newer, older) is not None) is held
    assert far_below(older, newer) is None, "the better one"


def test_noise_alone_holds_nothing_back() -> None:
    r = random.Random(3)
    held = 0
    for _ in range(2000):
        # Two models of one worth that differ on one event in five, of one of five actions that was drawn evenly.
        pairs = [(-5.0 * r.choice((0, 0.04, 0.84)) * (r.random() < 0.5), r.random() < 0.2) for _ in range(ENOUGH)]
        older = [cost for cost, _ in pairs]
        newer = [-5.0 * r.choice((0.04, 0.84)) * (r.random() < 0.3) if other else cost for cost, other in pairs]
        held += far_below(newer, older) is not None
    assert held == 0


def test_the_reason_names_what_was_earned() -> None:
    told = far_below([-0.5] * 300, [-1.0] * 300)

    assert told == (
        "As it learned the last 300 events it earned 0.5 on average, where the model before it would have earned 1: "
        "0.5 less, with a standard error of 0."
    )


def test_the_margin_is_a_share_of_what_is_earned() -> None:
    assert far_below([-0.91] * ENOUGH, [-1.0] * ENOUGH) is None
    assert far_below([-0.89] * ENOUGH, [-1.0] * ENOUGH) is not None


def test_where_next_to_nothing_is_earned_the_margin_is_fixed() -> None:
    assert far_below([LEAST * 0.9] * ENOUGH, [0.0] * ENOUGH) is None
    assert far_below([LEAST * 1.1] * ENOUGH, [0.0] * ENOUGH) is not None


def test_few_events_say_nothing() -> None:
    assert far_below([0.0] * (ENOUGH - 1), [-1.0] * (ENOUGH - 1)) is None
    assert far_below([], []) is None


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_events_that_one_of_them_says_nothing_of_do_not_count(nothing: float | None) -> None:
    assert far_below([0.0] * ENOUGH, [nothing, *[-1.0] * (ENOUGH - 1)]) is None
    assert far_below([nothing, *[0.0] * (ENOUGH - 1)], [-1.0] * ENOUGH) is None
    assert far_below([nothing, *[0.0] * ENOUGH], [-1.0] * (ENOUGH + 1)) is not None
