"""Spans: nothing where nobody takes them, and parts only of a whole that is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.telemetry.traces import NOTHING, Span, Traces, Value


class Told:
    def __init__(self) -> None:
        self.facts: dict[str, Value] = {}

    def tell(self, name: str, value: Value) -> None:
        self.facts[name] = value


class Tracer:
    """Takes spans, and sends those of which it was said."""

    def __init__(self, sends: bool) -> None:
        self.sends = sends
        self.made: list[tuple[str, str | None, Told]] = []

    def takes(self, parent: str) -> bool:
        return parent != "no"

    @contextmanager
    def span(self, name: str, parent: str | None) -> Iterator[tuple[Span, bool]]:
        told = Told()
        self.made.append((name, parent, told))
        yield told, self.sends


def test_without_a_tracer_there_is_nothing() -> None:
    traces = Traces()

    with traces.whole("call", "parent") as span, traces.part("decide") as part:
        span.tell("a", 1)
        assert span is part is NOTHING


def test_parts_belong_to_a_whole_that_is_sent() -> None:
    traces, tracer = Traces(), Tracer(True)
    traces.send_to(tracer)

    with traces.part("early"):
        pass
    with traces.whole("call", "00-1-2-01"), traces.part("decide") as part:
        part.tell("a", 1)
    with traces.whole("call", "no") as none, traces.part("decide"):
        assert none is NOTHING
    with traces.part("late"):
        pass

    assert [(name, parent) for name, parent, _ in tracer.made] == [("call", "00-1-2-01"), ("decide", None)]
    assert tracer.made[1][2].facts == {"a": 1}


def test_of_a_whole_that_is_not_sent_there_are_no_parts() -> None:
    traces, tracer = Traces(), Tracer(False)
    traces.send_to(tracer)

    with traces.whole("call"), traces.part("decide") as part:
        assert part is NOTHING

    assert [name for name, _, _ in tracer.made] == ["call"]


def test_what_is_raised_inside_goes_on() -> None:
    traces = Traces()
    for tracer in (None, Tracer(True)):
        traces.send_to(tracer)
        caught = False
        try:
            with traces.whole("call"), traces.part("decide"):
                raise KeyError("x")
        except KeyError:
            caught = True
        assert caught
