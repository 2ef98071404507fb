"""What a loop learns, held to the goals of `make bench-learning` with one seed each: no data is fetched."""

import pytest

from bench.learning.measure import Run, bounds, measure
from bench.learning.scenario import Figures
from bench.learning.scenarios import SCENARIOS

ROOM = 0.03
"""How far one seed may be below what the mean of five must reach."""


def played(scenario: str, policy: str, events: int = 0, plain: bool = False) -> Figures:
    held = SCENARIOS[scenario]
    row = [row.name for row in held.rows].index(policy)
    figures = measure(Run(scenario, row, 0, events or held.events, plain))
    print(f"{scenario}, {policy}{' (plain VW)' if plain else ''}: {figures}")  # shown by pytest -s
    assert not isinstance(figures, str)
    return figures


@pytest.mark.parametrize(
    ("scenario", "policy"),
    [
        ("coffee", "default"),
        ("coffee", "epsilon 0.2, found"),
        ("coffee", "squarecb, found"),
        ("grocery", "default"),
        ("visitors", "squarecb, pairs"),
        ("slots", "default with -l 0.1"),
        ("apprentice", "default"),
    ],
)
def test_a_loop_reaches_its_goals(scenario: str, policy: str) -> None:
    row = next(row for row in SCENARIOS[scenario].rows if row.name == policy)
    assert any(row.goal)

    figures = played(scenario, policy)

    for figure, goal in zip(figures, row.goal, strict=True):
        assert goal is None or figure >= goal - ROOM
    if row.rising:
        assert figures[1] > figures[0]


def test_a_loop_learns_clicks_that_are_rare_and_noisy_as_plain_vw_does() -> None:
    events = 8_000

    ours = played("clicks", "squarecb, found", events)
    plain = played("clicks", "squarecb, found", events, plain=True)

    assert ours[1] >= 0.16  # a uniform choice earns 0.085, full knowledge 0.203
    assert ours[1] >= plain[1] - ROOM


def test_full_knowledge_of_what_is_drawn_is_that_of_its_rates() -> None:
    low, high = bounds(SCENARIOS["clicks"])

    assert low == pytest.approx(0.085, abs=0.001)
    assert high == pytest.approx(0.203, abs=0.002)
