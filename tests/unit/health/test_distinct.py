"""Sketches of values: exact for few, close for many, and the same however they are merged."""

from __future__ import annotations

import math
import statistics

import pytest

from shared.health import distinct


def _values(start: int, end: int) -> list[bytes]:
    return [b"%d" % n for n in range(start, end)]


def test_few_values_are_counted_exactly() -> None:
    assert distinct.estimate(distinct.sketch([])) == 0
    assert distinct.estimate(distinct.sketch([b"a", b"b", b"a"])) == 2
    assert distinct.estimate(distinct.sketch(_values(0, 63))) == 63


@pytest.mark.parametrize("count", [200, 5_000])
def test_many_are_estimated(count: int) -> None:
    sketches = [distinct.sketch(_values(start, start + count)) for start in range(0, 20 * count, count)]
    ratios = [distinct.estimate(held) / count for held in sketches]

    assert statistics.fmean(ratios) == pytest.approx(1.0, abs=0.09)  # three deviations of the mean
    assert statistics.stdev(ratios) == pytest.approx(1 / math.sqrt(distinct.KEPT - 2), abs=0.06)
    assert {len(held) for held in sketches} == {4 * distinct.KEPT}


def test_a_sketch_of_parts_is_that_of_the_whole() -> None:
    whole = distinct.sketch(_values(0, 1000))

    assert distinct.merge(distinct.sketch(_values(0, 700)), distinct.sketch(_values(300, 1000))) == whole
    assert distinct.merge(b"", whole) == distinct.merge(whole, b"") == whole
