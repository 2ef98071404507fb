"""What share may be held back, and since when it is."""

from __future__ import annotations

import pytest

from shared.contract.errors import ApiError
from shared.loops.holdback import NOBODY, Holdback, put


@pytest.mark.parametrize("share", [1e-5, 0.05, 0.5])
def test_a_share_is_kept_with_the_time_of_its_change(share: float) -> None:
    assert put(share, NOBODY, 1_700_000_000.12345) == Holdback(share, 1_700_000_000.123)


def test_the_same_share_again_changes_nothing() -> None:
    held = Holdback(0.1, 5.0)

    assert put(0.1, held, 9.0) is held
    assert put(0.0, NOBODY, 9.0) is NOBODY
    assert put(0.0, held, 9.0) == Holdback(0.0, 9.0)


def test_a_clock_that_was_set_back_does_not_take_the_comparison_back() -> None:
    assert put(0.2, Holdback(0.1, 5.0), 4.0) == Holdback(0.2, 5.001)


@pytest.mark.parametrize("share", [-0.01, 0.51, 1.0, float("nan"), float("inf")])
def test_any_other_share_is_refused(share: float) -> None:
    with pytest.raises(ApiError, match=r"share must be from 0 to 0\.5; it is ") as refused:
        put(share, NOBODY, 1.0)
    assert (refused.value.code, refused.value.target) == ("InvalidRequest", "share")
