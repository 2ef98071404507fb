"""The latest of the log: the newest first, by few reads, whatever is joined, pruned, erased or deleted."""

from __future__ import annotations

import pytest

from shared.counters import Counters
from shared.log import activity, recent, retention
from shared.log import checkpoint as checkpoints
from shared.log.buckets import Waits
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import Erasure
from shared.log.history import Ranking
from shared.log.join import LoopRules
from shared.log.joiner import Joiner
from shared.log.records import Observed, digest_of
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.journalled import LOOP, T0, Obs, Rank, Record, SlotRank, WatchedBlobs, WatchedTables, journal

WAIT = 600.0
WAITS = Waits(((0, WAIT),))


class Log:
    """A loop's log, and who looks at its end."""

    def __init__(self, prune: bool = False) -> None:
        self.tables, self.blobs = MemoryTables(), MemoryBlobs()
        self.prune = prune
        self.calls: list[str] = []

    async def _pass(self, name: str, done: bool) -> None:
        if not done:
            self.calls.append(name)

    async def write(self, *records: Record, seed: int = 0) -> None:
        await journal(self.tables, records, WAITS, [0, 1], seed)

    async def join(self, now: float) -> None:
        spans = (await activity.noted(self.tables)).get(LOOP, [])
        rules = LoopRules(LOOP, WAITS, 0.0, "sum", (-1.0, 1.0))
        await Joiner(self.tables, self.blobs, Counters(), self.prune).run(rules, spans, now)

    async def latest(self, most: int, now: float) -> list[str]:
        """Their ids, those of observations behind `obs:`."""
        self.calls.clear()
        tables, blobs = WatchedTables(self.tables, self._pass), WatchedBlobs(self.blobs, self._pass)
        found = await recent.latest(tables, blobs, LOOP, most, now)
        assert [recent.time_of(one) for one in found] == sorted(map(recent.time_of, found), reverse=True)
        return [f"obs:{one.e}" if isinstance(one, Observed) else one.entry.event_id for one in found]


async def test_a_loop_without_a_log_has_nothing_lately() -> None:
    log = Log()

    assert await log.latest(50, T0) == []
    assert len(log.calls) == 2


async def test_what_is_pending_is_told_the_newest_first() -> None:
    log = Log()
    await log.write(*(Rank(f"e{n:02}", T0 + n) for n in range(40)), Obs("e05", T0 + 38.5, 0.5))

    assert await log.latest(4, T0 + 41) == ["e39", "obs:e05", "e38", "e37"]
    assert await log.latest(200, T0 + 41) == [
        "e39", "obs:e05", *(f"e{n:02}" for n in range(38, -1, -1)),
    ]  # fmt: skip
    assert await log.latest(2, T0 + 300) == ["e39", "obs:e05"]


async def test_few_rows_are_read_whole_and_no_key_twice() -> None:
    log = Log()
    await log.write(*(Rank(f"e{n:03}", T0 + n / 4) for n in range(2000)))

    assert len(await log.latest(15, T0 + 500)) == 15
    # The notes, the checkpoint, keys of both streams and shards of the last 15 s, and rows of the last buckets.
    assert len(log.calls) == 2 + 4 + 4


@pytest.mark.parametrize("prune", [False, True])
async def test_behind_what_is_pending_stands_what_was_joined_last(prune: bool) -> None:
    log = Log(prune)
    await log.write(*(Rank(f"e{n:02}", T0 + 60 * n) for n in range(20)), Obs("e00", T0 + 30, 0.5))
    await log.join(T0 + 1200)
    watermark = (await checkpoints.load(log.blobs, LOOP))[0].watermark
    assert T0 < watermark < T0 + 600

    found = await log.latest(200, T0 + 1200)
    pending = [f"e{n:02}" for n in range(19, -1, -1) if T0 + 60 * n >= watermark]
    assert found[: len(pending)] == pending
    assert len(found) > len(pending)

    await log.join(T0 + 10_000)
    found = await log.latest(3, T0 + 10_000)
    assert found[0] == "e19"
    assert len(log.calls) < 10


async def test_more_windows_are_read_where_the_last_one_holds_too_little() -> None:
    log = Log()
    for n in range(40):
        await log.write(Rank(f"e{n}", T0 + 60 * n), Obs(f"e{n}", T0 + 60 * n + 30, 0.5))
        await log.join(T0 + 60 * n + WAIT + 60)
    now = T0 + 5000
    await log.join(now)
    told = [name for n in range(39, -1, -1) for name in (f"obs:e{n}", f"e{n}")]

    assert await log.latest(6, now) == told[:6]
    assert 1 < len([call for call in log.calls if ".dsjson" in call]) < recent.WINDOWS
    some = await log.latest(200, now)
    assert len(told) > len(some) >= 2 * recent.WINDOWS
    assert some == told[: len(some)]
    assert len([call for call in log.calls if ".dsjson" in call]) == recent.WINDOWS


async def test_what_is_erased_or_deleted_is_not_told() -> None:
    log = Log()
    await log.write(Rank("e", T0 + 1), Rank("gone", T0 + 2), Obs("gone", T0 + 3), Obs("e", T0 + 4))
    await checkpoints.save(
        log.blobs, LOOP, Checkpoint(erasures=[Erasure("event", digest_of("gone").hex(), T0 + 100.0)]), None
    )

    assert await log.latest(50, T0 + 20) == ["obs:e", "e"]
    await log.join(T0 + 10_000)
    assert await log.latest(50, T0 + 10_000) == ["obs:e", "e"]

    await retention.clear(log.blobs, LOOP, T0 + 10_000)
    assert await log.latest(50, T0 + 10_000) == []


async def test_events_of_slots_and_of_joined_lines_hold_what_was_decided() -> None:
    log = Log()
    await log.write(SlotRank("e", T0 + 1), Rank("f", T0 + 2, chosen=2, p=0.25))

    for joined in (False, True):
        one, slots = await recent.latest(log.tables, log.blobs, LOOP, 50, T0 + 20_000)
        assert isinstance(one, Ranking)
        assert isinstance(slots, Ranking)
        assert (one.entry.order[0], one.entry.probabilities[0]) == (3, 0.25)
        assert slots.entry.outcomes
        assert [outcome.id for outcome in slots.entry.outcomes] == ["top", "side"]
        assert (one.window is not None) is joined
        await log.join(T0 + 10_000)


async def test_a_bucket_that_holds_very_much_is_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MOST_BYTES", 1)
    log = Log()
    await log.write(*(Rank(f"e{n}", T0 + n) for n in range(40)))

    found = await log.latest(200, T0 + 41)
    assert 0 < len(found) < 10
