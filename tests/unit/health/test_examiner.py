"""Examining a loop: what is new alone, seldom, in bounded time, and again where a run was killed."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from shared.counters import Counters
from shared.health import examined
from shared.health.catalogue import ENOUGH
from shared.health.examined import DAY, Examined, Standing, Totals
from shared.health.examiner import EVERY, WHILE_YOUNG, YOUNG, Examiner
from shared.health.findings import findings
from shared.learning import pointer, registry
from shared.learning.pointer import Course, Pointer
from shared.learning.registry import Version
from shared.log import checkpoint as checkpoints
from shared.log import hours, joined
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import Erasure
from shared.log.joined import DSJSON, Window
from shared.log.records import digest_of
from shared.storage import Conflict, Unavailable
from shared.storage.memory import MemoryBlobs
from tests.unit.health import planted

LOOP, T0 = "0" * 32, 1_700_006_400
NOW = float(T0 + 1000)


class Log:
    """A loop's log, and an examiner of it."""

    def __init__(self) -> None:
        self.blobs, self.counters = MemoryBlobs(), Counters()
        self.examiner = Examiner(self.blobs, self.counters)

    async def join(self, start: int, events: int = 20, **changes: object) -> None:
        """Add a window, and change the checkpoint."""
        await joined.write(self.blobs, LOOP, Window(start, start + 5), DSJSON, planted.lines(events))
        await self.mark(watermark=start + 5, **changes)

    async def mark(self, **changes: object) -> None:
        """Change the checkpoint."""
        await checkpoints.change(self.blobs, LOOP, lambda held: msgspec.structs.replace(held, **changes))

    async def run(self, now: float = NOW, until: float = math.inf) -> Examined:
        await self.examiner.run(LOOP, now, until)
        return (await examined.load(self.blobs, LOOP))[0]


@pytest.fixture
def log() -> Log:
    return Log()


async def test_what_is_joined_is_examined_once(log: Log) -> None:
    await log.join(T0, events=20)
    first = await log.run()
    await log.join(T0 + 60, events=50)
    second = await log.run(NOW + EVERY)
    third = await log.run(NOW + 2 * EVERY)

    assert (first.at, first.through, first.latest.events) == (NOW, T0 + 5, 20)
    assert (second.through, second.latest.events) == (T0 + 65, 70)
    assert third.latest == second.latest
    assert log.counters["examine.events"] == 70


async def test_how_much_is_amiss_is_told_without_what_is_only_worth_a_look(log: Log) -> None:
    def dead_and_ids(line: dict[str, Any], rng: object, n: int) -> None:
        line["c"]["FromUrl"].append({"session": f"s{n}", "version": "1"})

    lines = planted.lines(ENOUGH + 100, change=dead_and_ids)
    await joined.write(log.blobs, LOOP, Window(T0, T0 + 5), DSJSON, lines)
    await log.mark(watermark=T0 + 5, events=len(lines), rewarded=len(lines) // 3)
    held = await log.run()

    found = {one.code: one.severity for one in findings(held, 0, NOW, 0.0)}
    assert found == {"valuesAreIds": "warning", "featureConstant": "info"}
    assert log.counters.take_worst() == {"health.findings": 1}


async def test_a_run_that_comes_too_soon_says_when_to_look_again(log: Log) -> None:
    await log.join(T0, events=1)
    assert await log.examiner.run(LOOP, NOW, math.inf) == math.inf
    await log.join(T0 + 60)

    for examiner in (log.examiner, Examiner(log.blobs, log.counters)):  # one that remembers, and a new one
        assert await examiner.run(LOOP, NOW + 1, math.inf) == NOW + WHILE_YOUNG
    await log.join(T0 + 120)
    assert await log.examiner.run(LOOP, NOW + WHILE_YOUNG, -math.inf) == NOW + 2 * WHILE_YOUNG  # out of time
    assert await log.examiner.run(LOOP, NOW + 2 * WHILE_YOUNG, math.inf) == math.inf


async def test_nothing_is_left_of_what_somebody_has_just_examined(log: Log) -> None:
    await log.join(T0)
    assert await log.examiner.run(LOOP, NOW, math.inf) == math.inf

    assert await Examiner(log.blobs, log.counters).run(LOOP, NOW + 1, math.inf) == math.inf
    await log.mark(generation=1)  # an erasure has made it void
    assert await Examiner(log.blobs, log.counters).run(LOOP, NOW + 1, math.inf) == NOW + WHILE_YOUNG


async def test_a_young_loop_is_examined_sooner(log: Log) -> None:
    await log.join(T0, events=1)
    await log.run()
    await log.join(T0 + 60)

    assert (await log.run(NOW + WHILE_YOUNG - 1)).latest.events == 1
    assert (await log.run(NOW + WHILE_YOUNG)).latest.events == 21

    await log.join(T0 + 120)
    await log.mark(events=YOUNG)
    later = NOW + 2 * WHILE_YOUNG
    assert (await log.run(later)).latest.events == 41
    await log.join(T0 + 180)
    assert (await log.run(later + EVERY - 1)).latest.events == 41
    assert (await log.run(later + EVERY)).latest.events == 61


async def test_of_a_loop_that_is_no_longer_young_a_part_is_examined(log: Log) -> None:
    await log.mark(events=YOUNG)
    await log.run()
    await log.join(T0, events=1000)

    latest = (await log.run(NOW + EVERY)).latest
    assert (latest.events, latest.lines) == (250, 1000)


async def test_a_loop_that_was_just_examined_costs_nothing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.join(T0)
    await log.run()

    async def down(path: str) -> None:
        raise Unavailable("down")

    monkeypatch.setattr(log.blobs, "get", down)
    await log.examiner.run(LOOP, NOW + 1, math.inf)
    with pytest.raises(Unavailable):
        await Examiner(log.blobs, log.counters).run(LOOP, NOW + 1, math.inf)


async def test_another_instance_does_not_examine_it_again(log: Log) -> None:
    await log.join(T0)
    held = await log.run()
    await log.join(T0 + 60)

    log.examiner = Examiner(log.blobs, log.counters)
    assert await log.run(NOW + 1) == held


async def test_a_run_that_has_no_time_left_goes_on_with_the_next(log: Log) -> None:
    await log.join(T0)
    await log.join(T0 + 60)

    stopped = await log.run(until=-math.inf)  # which gets on by a window, or it would be for ever the one to wait
    assert (stopped.through, stopped.latest.events, stopped.at) == (T0 + 5, 20, NOW)
    assert (await log.run(NOW + EVERY)).latest.events == 40


async def test_of_two_runs_at_once_one_counts(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.join(T0)
    save = examined.save

    async def late(*arguments: object) -> None:
        monkeypatch.setattr(examined, "save", save)
        await Examiner(log.blobs, log.counters).run(LOOP, NOW, math.inf)
        await save(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(examined, "save", late)
    assert await log.examiner.run(LOOP, NOW, math.inf) == NOW, "what the other one has left is seen the next time"
    assert (await examined.load(log.blobs, LOOP))[0].latest.events == 20
    assert log.counters["examine.rivals"] == 1


async def test_a_run_that_is_killed_is_repeated(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.join(T0)

    async def killed(*arguments: object) -> None:
        raise Conflict

    with monkeypatch.context() as patched:
        patched.setattr(joined, "read_beginning", killed)
        with pytest.raises(Conflict):
            await log.run()
    assert (await log.run()).latest.events == 20


async def test_no_more_than_the_last_day_is_caught_up_with(log: Log) -> None:
    await log.join(T0 - 2 * DAY)
    await log.join(T0, events=30)

    assert (await log.run()).latest.events == 30


async def test_what_was_counted_before_the_log_was_looked_at_is_left_out(log: Log) -> None:
    await log.join(T0)
    await log.mark(events=1000, retries=600)
    before = await log.run()
    await log.mark(events=1010, retries=603)
    after = await log.run(NOW + EVERY)

    assert (before.latest.joined, before.latest.repeated) == (0, 0)
    assert before.totals == Totals(joined=1000, repeated=600)
    assert (after.latest.joined, after.latest.repeated) == (10, 3)


async def test_a_new_loops_counts_are_all_of_them(log: Log) -> None:
    await log.join(T0)
    await log.mark(events=20, retries=3, rewarded=7)
    await log.blobs.put(hours.progress_path(LOOP), msgspec.json.encode(hours.Progress(late=4, unknown=6)))

    latest = (await log.run()).latest
    assert (latest.joined, latest.repeated, latest.answered, latest.late, latest.unknown) == (20, 3, 7, 4, 6)


async def test_it_is_noted_since_when_the_model_stands_still(log: Log) -> None:
    await log.join(T0)
    await log.mark(events=20)
    first = await log.run()
    await log.join(T0 + 60)
    still = await log.run(NOW + EVERY)
    await pointer.move(log.blobs, LOOP, Pointer(Version("v1", "", "", T0 + 5, 7, 0.25, 0.0, 0.0)), None)
    moved = await log.run(NOW + 2 * EVERY)
    _, etag = await registry.current(log.blobs, LOOP)
    await pointer.move(log.blobs, LOOP, Pointer(Version("v2", "", "", T0 + 65, 7, 0.25, 0.0, 0.0)), etag)
    done = await log.run(NOW + 3 * EVERY)

    assert first.standing == still.standing == Standing(0, NOW)
    assert moved.standing == Standing(T0 + 5, NOW + 2 * EVERY)
    assert done.standing is None


async def test_a_model_that_is_pinned_or_held_back_does_not_stand_still(log: Log) -> None:
    await log.join(T0)
    await log.mark(events=20)
    serving, head = (Version(f"v{n}", "", "", T0 + 5 * n, 7, 0.25, 0.0, 0.0) for n in (1, 20))
    await pointer.move(log.blobs, LOOP, Pointer(serving, Course(pinned=True, head=head)), None)

    assert (await log.run()).standing is None
    await log.join(T0 + 60)
    await log.join(T0 + 120)
    assert (await log.run(NOW + EVERY)).standing == Standing(T0 + 100, NOW + EVERY)


async def test_a_loop_without_events_has_no_model_to_wait_for(log: Log) -> None:
    await log.mark(watermark=T0)

    assert (await log.run()).standing is None


async def test_what_is_erased_is_not_examined_and_what_was_is_forgotten(log: Log) -> None:
    await log.join(T0)
    await log.run()
    erasure = Erasure("event", digest_of("e3").hex(), T0 + 10.0, generation=1)
    erased = msgspec.structs.replace(Checkpoint(), watermark=T0 + 5, generation=1, erasures=[erasure])
    await checkpoints.change(log.blobs, LOOP, lambda held: erased)

    after = await log.run(NOW + EVERY)
    # The lines of the tests are of 2026, after the erasure of whatever came before T0; so none of them is hidden.
    assert (after.generation, after.latest.events) == (1, 20)
    later = msgspec.structs.replace(erasure, at=2e9)
    await log.mark(erasures=[later], generation=2)
    assert (await log.run(NOW + 2 * EVERY)).latest.events == 19


async def test_it_is_remembered_of_a_bounded_number_of_loops(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.health.examiner._LOOPS", 1)
    await log.examiner.run("1" * 32, NOW, math.inf)
    await log.join(T0)

    assert (await log.run()).latest.events == 20
    assert list(log.examiner._due) == [LOOP]
