from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ranking.explore import Choice, choose, first, in_request_order
from shared.ranking.sampling import draw, seed

LOOP = "0123456789abcdef0123456789abcdef"
EPSILON_GREEDY = [0.05, 0.05, 0.85, 0.05]


def seed_that_draws(position: int, probabilities: list[float]) -> int:
    return next(n for n in range(10_000) if draw(n, probabilities) == position)


@pytest.mark.parametrize(
    ("position", "order", "probabilities"),
    [
        # Best first is [2, 0, 1, 3]; the drawn one changes places with the best.
        (0, [2, 0, 1, 3], [0.85, 0.05, 0.05, 0.05]),
        (1, [0, 2, 1, 3], [0.05, 0.85, 0.05, 0.05]),
        (2, [1, 0, 2, 3], [0.05, 0.05, 0.85, 0.05]),
        (3, [3, 0, 1, 2], [0.05, 0.05, 0.05, 0.85]),
    ],
)
def test_the_drawn_action_changes_places_with_the_best(
    position: int, order: list[int], probabilities: list[float]
) -> None:
    of = seed_that_draws(position, [0.85, 0.05, 0.05, 0.05])

    choice = choose(EPSILON_GREEDY, [2, 0, 1, 3], of)

    assert choice.order == order
    assert choice.probabilities == probabilities


def test_a_single_action_is_certain() -> None:
    for of in (0, 1, 2**33 - 2):
        assert choose([1.0], [0], of).order == [0]
        assert choose([1.0], [0], of).probabilities == [1.0]


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=50), st.randoms(use_true_random=False), st.integers(0, 2**33))
def test_a_ranking_is_as_vw_lists_it_but_for_the_drawn_one(distribution: list[float], r: Random, of: int) -> None:
    listed = list(range(len(distribution)))
    r.shuffle(listed)
    kept = tuple(listed)

    choice = choose(distribution, kept, of)

    drawn = draw(of, [distribution[n] for n in kept])
    listed[0], listed[drawn] = listed[drawn], listed[0]
    assert choice.order == listed
    assert choice.probabilities == [distribution[n] for n in listed]


def test_actions_are_drawn_as_often_as_their_probabilities_say() -> None:
    distribution = [0.1, 0.2, 0.3, 0.4]
    draws = 20_000

    counts = Counter(choose(distribution, range(4), seed(f"event{n}", LOOP)).order[0] for n in range(draws))

    chi_square = sum((counts[n] - draws * p) ** 2 / (draws * p) for n, p in enumerate(distribution))
    assert chi_square < 16.3  # 3 degrees of freedom, one in a thousand


@pytest.mark.parametrize("count", [1, 2, 50])
def test_the_first_is_certain_and_the_rest_keep_their_order(count: int) -> None:
    choice = first(count)

    assert choice.order == list(range(count))
    assert choice.probabilities == [1.0] + [0.0] * (count - 1)


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=50), st.integers(0, 2**33))
def test_in_request_order_each_keeps_its_own_probability(distribution: list[float], of: int) -> None:
    choice = choose(distribution, range(len(distribution)), of)

    assert in_request_order(choice) == Choice(list(range(len(distribution))), distribution)
