import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log.reward import AGGREGATIONS, aggregate


@pytest.mark.parametrize(
    ("aggregation", "values", "reward"),
    [
        ("earliest", [0.5, 1.0, -1.0], 0.5),
        ("average", [0.5, 1.0, -1.0, 0.5], 0.25),
        ("sum", [0.5, 1.0, -1.0, 0.5], 1.0),
        ("min", [0.5, 1.0, -1.0], -1.0),
        ("max", [0.5, 1.0, -1.0], 1.0),
        ("max", [-0.5, -0.25], -0.25),
        ("max", [-1.0, 0.0], 0.0),
        ("median", [1.0, -1.0, 0.5], 0.5),
        ("median", [1.0, -1.0, 0.5, 0.25], 0.375),
    ],
)
def test_six_ways_to_aggregate(aggregation: str, values: list[float], reward: float) -> None:
    assert aggregate(values, aggregation, 9.0) == reward


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_default_reward_is_for_events_without_any_alone(aggregation: str) -> None:
    assert aggregate([], aggregation, -0.25) == -0.25
    assert aggregate([0.0], aggregation, -0.25) == 0.0


def test_the_names_are_those_of_the_api() -> None:
    assert sorted(AGGREGATIONS) == ["average", "earliest", "max", "median", "min", "sum"]


@given(st.lists(st.integers(-1000, 1000).map(float), min_size=1))
def test_all_but_earliest_ignore_the_order(values: list[float]) -> None:
    shuffled = sorted(values)
    for name in AGGREGATIONS:
        if name != "earliest":
            assert aggregate(values, name, 0.0) == pytest.approx(aggregate(shuffled, name, 0.0))
