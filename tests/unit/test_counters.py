"""Counts, measurements that nobody keeps, and the worst of what is told from time to time."""

from __future__ import annotations

from shared.counters import Counters


def test_counts_grow_by_name() -> None:
    counters = Counters()
    counters.add("b")
    counters.add("a", 2)
    counters.add("b")

    assert (counters["b"], counters["c"]) == (2, 0)
    assert list(counters.snapshot().items()) == [("a", 2), ("b", 2)]


def test_measurements_go_to_whoever_listens() -> None:
    counters, heard = Counters(), list[tuple[str, float, str]]()
    counters.measure("x", 1.0)
    counters.listen(lambda *told: heard.append(told))
    counters.measure("x", 2.0)
    counters.measure("x", 3.0, "kind")
    counters.listen(None)
    counters.measure("x", 4.0)

    assert heard == [("x", 2.0, ""), ("x", 3.0, "kind")]


def test_the_worst_stands_until_it_is_taken() -> None:
    counters = Counters()
    for value in (-3.0, -1.0, -2.0):
        counters.worst("x", value)

    assert counters.take_worst() == {"x": -1.0}
    assert counters.take_worst() == {}
