"""When auto-optimization is due, what it looks at, and what it takes over: contract 5.9."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.contract.evaluations import PolicySource
from shared.evaluation import optimizing, results
from shared.evaluation.bins import NOTHING
from shared.evaluation.estimators import Estimate, Estimates
from shared.evaluation.field import MOST_BYTES
from shared.evaluation.optimizing import ENOUGH_BYTES
from shared.evaluation.results import ALL, Outcome, Results, Slot
from shared.log.joined import Window
from shared.log.records import APPRENTICE
from shared.log.records import ONLINE as ONLINE_MODE

DAY = 86_400
START, EVERY = 15.0 * DAY, 28.0 * DAY
ZERO = Estimate(0.0, 0.0, 0.0)
ENOUGH = Estimates(1000, 500.0, 900, ZERO, ZERO, ZERO, ZERO, True, 0, "The intervals can be trusted.")


def outcome(
    name: str, source: PolicySource, value: float, half: float, trusted: bool = True, arguments: str | None = "--x"
) -> Outcome:
    judged = replace(ENOUGH, snips=Estimate(value, value - half, value + half), trusted=trusted)
    whole = replace(ENOUGH, snips=Estimate(9.0, 9.0, 9.0))  # which nothing is decided by
    return Outcome(name, source, [Slot(ALL, NOTHING, whole, judged)], arguments)


ONLINE = outcome("online", PolicySource.ONLINE, 0.5, 0.05)


@pytest.mark.parametrize(
    ("ran", "now", "due"),
    [
        (0.0, START - 1, None),
        (0.0, START, START),
        (START, START + 1, None),
        (START, START + EVERY - 1, None),
        (START, START + EVERY, START + EVERY),
        (0.0, START + 3.5 * EVERY, START + 3 * EVERY),  # what was missed is not made up for
        (START + 3 * EVERY, START + 3.9 * EVERY, None),
    ],
)
def test_a_run_is_due_once_in_each_time(ran: float, now: float, due: float | None) -> None:
    assert optimizing.due(START, EVERY, ran, now) == due


def test_two_weeks_are_looked_at_or_as_much_more_as_it_takes() -> None:
    now = 100 * DAY
    days = {Window(n * DAY, n * DAY + 60): ENOUGH_BYTES // 20 for n in range(100)}

    assert [window.start // DAY for window in optimizing.span(days, now)] == list(range(80, 100))
    plenty = dict.fromkeys(days, ENOUGH_BYTES)
    assert [window.start // DAY for window in optimizing.span(plenty, now)] == list(range(86, 100))
    little = dict.fromkeys(days, 10)
    assert optimizing.span(little, now) == little
    assert optimizing.span({}, now) == {}
    much = dict.fromkeys(days, MOST_BYTES // 3)
    assert [window.start // DAY for window in optimizing.span(much, now)] == [97, 98, 99], "as much as may be asked for"


@pytest.mark.parametrize(
    ("value", "half", "trusted", "source", "wins"),
    [
        (0.6, 0.1, True, PolicySource.FOUND, True),
        (0.6, 0.16, True, PolicySource.FOUND, False),  # it may be worse than what decided may be
        (0.49, 0.01, True, PolicySource.FOUND, False),
        (0.6, 0.1, False, PolicySource.FOUND, False),
        (0.6, 0.1, True, PolicySource.CUSTOM, False),
    ],
)
def test_a_policy_must_be_better_and_surely_no_worse(
    value: float, half: float, trusted: bool, source: PolicySource, wins: bool
) -> None:
    one = outcome("a", source, value, half, trusted)

    assert optimizing.winner([ONLINE, one]) == (one if wins else None)


def test_of_several_the_best_is_taken_over() -> None:
    field = [outcome(str(n), PolicySource.FOUND, 0.6 + n / 100, 0.05) for n in (1, 3, 2)]

    assert optimizing.winner([*field, ONLINE]) == field[1]
    assert optimizing.winner(field) is None, "nothing to compare with"


def test_the_optimal_policy_is_the_best_that_can_be_applied_and_believed() -> None:
    others = [
        outcome("baseline1", PolicySource.BASELINE, 0.9, 0.01, arguments=None),
        outcome("rare", PolicySource.FOUND, 0.8, 0.3, trusted=False),
        outcome("mine", PolicySource.CUSTOM, 0.6, 0.1),
    ]

    assert results.optimal([ONLINE, *others]) == "mine"
    assert results.optimal([ONLINE, *others[:2]]) == "online"
    assert results.optimal(others[:2]) is None
    unsure = outcome("online", PolicySource.ONLINE, 0.5, 0.1, trusted=False)
    assert results.optimal([unsure]) == "online", "whatever it was, it is what there is"
    nothing = replace(ENOUGH, events=0)
    empty = Outcome("online", PolicySource.ONLINE, [Slot(ALL, NOTHING, nothing, nothing)], "--x")
    assert results.optimal([empty]) is None


def test_what_came_of_it_is_said() -> None:
    mine = outcome("mine", PolicySource.CUSTOM, 0.6, 0.1)

    assert results.verdict(Results([ONLINE, mine]), "mine", ONLINE_MODE) == (
        "By 1000 events, mine earns 0.6 an event, where what decided earned 0.5. The intervals can be trusted."
    )
    assert results.verdict(Results([ONLINE, mine], judged_from=5.0), "online", ONLINE_MODE) == (
        "By the part of the log that nothing was chosen by, 1000 events, online earns 0.5 an event. "
        "The intervals can be trusted."
    )
    assert results.verdict(Results([ONLINE]), None, ONLINE_MODE).startswith("There is no event")
    assert results.verdict(Results([ONLINE]), "online", APPRENTICE) == (
        "By 1000 events, online earns 0.5 an event, where an event earns 1 for the baseline's action and 0 for any "
        "other, as Apprentice mode learns it. The intervals can be trusted."
    )
