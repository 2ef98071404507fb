"""No dependency may install a top-level package with one of our names: in Azure the app comes last on sys.path."""

from importlib.metadata import packages_distributions

import pytest

OURS = (
    "backup",
    "bench",
    "demo",
    "function_app",
    "join_timer_fn",
    "localhost",
    "manage_fn",
    "rank_fn",
    "reward_fn",
    "shared",
    "train_timer_fn",
    "ui_fn",
    "work_fn",
)


@pytest.mark.parametrize("name", OURS)
def test_a_name_is_ours_alone(name: str) -> None:
    assert packages_distributions().get(name, []) == []
