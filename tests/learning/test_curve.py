import pytest

from demo.curve import Curve, sparkline


def test_a_rolling_mean_is_that_of_each_run_of_events() -> None:
    curve = Curve([0.0, 1.0, 1.0, 0.0, 1.0])

    played, means = curve.rolling(2)

    assert played == [2, 3, 4, 5]
    assert means == [0.5, 1.0, 0.5, 0.5]
    assert curve.latest(3) == pytest.approx(2 / 3)


def test_a_curve_shorter_than_the_mean_is_empty() -> None:
    assert Curve([1.0]).rolling(2) == ([], [])
    assert Curve().latest(5) == 0.0


def test_a_sparkline_spans_low_to_high() -> None:
    assert sparkline([0.0, 0.5, 1.0], 0.0, 1.0) == "▁▅█"
    assert sparkline([-1.0, 2.0], 0.0, 1.0) == "▁█"
    assert len(sparkline([0.5] * 1000, 0.0, 1.0, width=60)) == 60
    assert sparkline([], 0.0, 1.0) == ""
