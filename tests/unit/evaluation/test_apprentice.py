"""When to let an apprentice act."""

from __future__ import annotations

import pytest

from shared.evaluation.apprentice import achievement, average
from shared.log.apprentice import BATCH, Totals


@pytest.mark.parametrize(
    ("imitated", "ratio", "says"),
    [
        (0.0, 0.0, "Stay in Apprentice mode: it achieves 0.0% of the baseline's reward"),
        (479.0, 0.59875, "Stay in Apprentice mode: it achieves 59.9% of"),
        (480.0, 0.6, "It may be switched to Online mode: it achieves 60.0% of"),
        (639.0, 0.79875, "It may be switched"),
        (640.0, 0.8, "Switch to Online mode: it achieves 80.0%"),
        (900.0, 1.125, "Switch to Online mode: it achieves 112.5%"),
    ],
)
def test_a_ratio_says_what_to_do(imitated: float, ratio: float, says: str) -> None:
    found = achievement(Totals(BATCH, 700, 800.0, imitated))

    assert found.ratio == ratio
    assert found.says.startswith(says)


def test_before_a_thousand_events_it_is_too_early_whatever_the_ratio() -> None:
    found = achievement(Totals(BATCH - 1, 999, 10.0, 10.0))

    assert (found.ratio, found.says) == (1.0, "Wait: 999 of the 1000 events that it is judged by are joined.")


@pytest.mark.parametrize("rewards", [0.0, -5.0])
def test_a_baseline_that_earns_nothing_is_no_measure(rewards: float) -> None:
    found = achievement(Totals(BATCH, 700, rewards, -2.0))

    assert found.ratio is None
    assert found.says.startswith("It cannot be judged")


def test_averages_need_events() -> None:
    assert average(Totals(), 0.0) is None
    assert average(Totals(4, 2, 3.0, 1.0), 3.0) == 0.75
