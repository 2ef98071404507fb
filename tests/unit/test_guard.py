"""Work of the timers that may fail: what is counted, measured, traced and logged of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.counters import Counters
from shared.guard import Guarded
from shared.storage import Unavailable
from shared.telemetry.about import current
from shared.telemetry.traces import Span, Traces, Value


class Tracer:
    """Keeps spans and what they were told."""

    def __init__(self) -> None:
        self.made: list[tuple[str, dict[str, Value]]] = []

    def takes(self, parent: str) -> bool:
        return True

    @contextmanager
    def span(self, name: str, parent: str | None) -> Iterator[tuple[Span, bool]]:
        facts: dict[str, Value] = {}
        self.made.append((name, facts))

        class Told:
            def tell(self, name: str, value: Value) -> None:
                facts[name] = value

        yield Told(), True


async def whom() -> str:
    held = current()
    assert held
    return held.loop


async def fail(error: Exception) -> str:
    raise error


async def test_work_is_measured_and_its_lines_are_about_its_loop() -> None:
    counters, heard, traces, tracer = Counters(), list[tuple[str, str]](), Traces(), Tracer()
    counters.listen(lambda name, value, kind: heard.append((name, kind)))
    traces.send_to(tracer)
    run = Guarded(counters, traces).run

    with traces.whole("join_timer"):
        assert await run("join", "loop l1", whom()) == "l1"
        assert await run("join", "any loop", whom()) == "any loop"

    assert heard == [("task.duration", "join"), ("task.duration", "join_run")]
    assert tracer.made[1:] == [("join", {"rankloop.loop": "l1"}), ("join", {"rankloop.loop": "any loop"})]
    assert current() is None


@pytest.mark.parametrize(("error", "trace"), [(Unavailable("silent"), False), (KeyError("x"), True)])
async def test_what_fails_is_counted_told_and_does_no_harm(
    caplog: pytest.LogCaptureFixture, error: Exception, trace: bool
) -> None:
    counters, traces, tracer = Counters(), Traces(), Tracer()
    traces.send_to(tracer)

    with traces.whole("train_timer"):
        assert await Guarded(counters, traces).run("train", "loop l1", fail(error)) is None

    assert counters["train.failed"] == 1
    assert tracer.made[1][1]["error.type"] == type(error).__name__
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert line.getMessage().startswith("the train of loop l1 failed and is tried again")
    assert bool(line.exc_info) is trace
