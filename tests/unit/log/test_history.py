"""Where an event id stands, in the journal and in the joined log, whatever the join does meanwhile."""

from __future__ import annotations

import math
import threading

import msgspec
import pytest

from shared.counters import Counters
from shared.log import activity, entry, history, merged
from shared.log import checkpoint as checkpoints
from shared.log.buckets import Waits
from shared.log.erasure import Erasure
from shared.log.history import MOST, History, Search
from shared.log.join import LoopRules
from shared.log.joined import log_path
from shared.log.joiner import Joiner
from shared.log.records import digest_of
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.journalled import LOOP, T0, Obs, Rank, Record, SlotRank, WatchedBlobs, WatchedTables, journal

WAIT = 30.0
RULES = LoopRules(LOOP, Waits(((0, WAIT),)), 0.0, "sum", (-1.0, 1.0))
LATER = 1000.0


class Log:
    """A loop's journal and joined log in memory."""

    def __init__(self) -> None:
        self.tables, self.blobs = MemoryTables(), MemoryBlobs()

    async def put(self, *records: Record) -> None:
        await journal(self.tables, records, RULES.waits)

    async def join(self, now: float, prune: bool = False) -> None:
        spans = (await activity.noted(self.tables)).get(LOOP, [])
        await Joiner(self.tables, self.blobs, Counters(), prune).run(RULES, spans, now)

    async def find(self, event_id: str = "e", now: float = T0 + LATER) -> History:
        return (await Search(self.tables, self.blobs, LOOP, event_id).run(now))[0]

    async def change(self, **changes: object) -> None:
        held, etag = await checkpoints.load(self.blobs, LOOP)
        await checkpoints.save(self.blobs, LOOP, msgspec.structs.replace(held, **changes), etag)


@pytest.fixture
def log() -> Log:
    return Log()


def told(found: History) -> list[tuple[float, bool, bool]]:
    """When it was ranked, whether that is joined, and whether it is a retry."""
    return [(ranking.time - T0, ranking.window is not None, ranking.retry) for ranking in found.rankings]


async def test_an_empty_loop_knows_no_event(log: Log) -> None:
    assert await log.find() == History()


async def test_a_pending_event_is_found_with_its_observations(log: Log) -> None:
    others: list[Record] = [Rank(f"other{n}", T0 + n) for n in range(20)]
    await log.put(Rank("e", T0 + 1, chosen=2, mode="Apprentice"), Obs("e", T0 + 2), Obs("x", T0 + 2), *others)

    found = await log.find(now=T0 + 10.0)

    assert told(found) == [(1.0, False, False)]
    entry = found.rankings[0].entry
    assert (entry.event_id, entry.order, entry.mode, entry.deferred) == ("e", [3, 1, 2], "Apprentice", False)
    assert [(o.e, o.t) for o in found.observed] == [("e", T0 + 2)]


async def test_slots_are_found(log: Log) -> None:
    await log.put(SlotRank("e", T0 + 1))
    pending = await log.find(now=T0 + 10.0)
    await log.join(T0 + LATER)
    joined = await log.find()

    for found in (pending, joined):
        outcomes = found.rankings[0].entry.outcomes
        assert outcomes is not None
        assert [(slot.id, slot.actions) for slot in outcomes] == [("top", [1, 0, 2, 3]), ("side", [2, 0, 3])]


@pytest.mark.parametrize("prune", [False, True])
async def test_a_joined_event_is_found_with_what_came_late(log: Log, prune: bool) -> None:
    await log.put(Rank("e", T0 + 1, deferred=True), Obs("e", T0 + 2), Obs("e", T0 + 45), Rank("late", T0 + 300))
    await log.put(Obs("e", T0 + 301))
    await log.join(T0 + LATER, prune)
    await log.put(Obs("e", T0 + 900))

    found = await log.find()

    assert told(found) == [(1.0, True, False)]
    assert found.rankings[0].entry.inactive
    assert [o.t - T0 for o in found.observed] == [2, 45, 301, 900]


async def test_an_id_that_is_ranked_again_and_again(log: Log) -> None:
    times = (0, 50, 160, 290, 700, 750)
    await log.put(*(Rank("e", T0 + t) for t in times))
    wanted = [(0.0, False), (50.0, True), (160.0, True), (290.0, False), (700.0, False), (750.0, True)]
    pending = await log.find()
    assert [(time, retry) for time, _, retry in told(pending)] == wanted

    await log.join(T0 + 500.0)
    between = await log.find()
    await log.join(T0 + LATER)
    joined = await log.find()

    assert [(time, retry) for time, _, retry in told(between)] == wanted
    assert [held for _, held, _ in told(between)] == [True, False, False, True, False, False]
    assert [(time, retry) for time, _, retry in told(joined)] == wanted


async def test_slashes_are_found_however_they_are_spelled(log: Log) -> None:
    await log.put(Rank("a%2Fb/c", T0 + 1), Obs("a/b/c", T0 + 2))
    for joined in (False, True):
        if joined:
            await log.join(T0 + LATER)
        for spelled in ("a/b/c", "a%2fb%2Fc"):
            found = await log.find(spelled)
            assert [ranking.entry.event_id for ranking in found.rankings] == ["a%2Fb/c"]
            assert len(found.observed) == 1


async def test_of_a_window_only_the_own_lines_are_decoded_and_off_the_event_loop(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = 'é"\\[.+/x%2fy'
    others: list[Record] = [Rank(f"e{n}", T0 + n) for n in range(20)]
    await log.put(*others, Rank("e", T0 + 1), Rank("e/1", T0 + 1), Rank(odd, T0 + 2), Obs("e", T0 + 3))
    await log.join(T0 + LATER)
    decoded: list[threading.Thread] = []

    def of_line(line: bytes) -> entry.Entry:
        decoded.append(threading.current_thread())
        return decode(line)

    decode = entry.of_line
    monkeypatch.setattr(entry, "of_line", of_line)
    for event_id in ("e", odd, "e%2F1"):
        decoded.clear()
        assert told(await log.find(event_id))[0][1:] == (True, False)
        assert len(decoded) == 1
        assert decoded[0] is not threading.main_thread()


async def test_what_is_erased_or_deleted_is_not_found(log: Log) -> None:
    await log.put(Rank("e", T0 + 1), Obs("e", T0 + 2), Rank("f", T0 + 1), Rank("e", T0 + 500))
    await log.join(T0 + 400.0)
    erasure = Erasure("event", digest_of("e").hex(), T0 + 300.0)

    await log.change(erasures=[erasure])
    assert told(await log.find()) == [(500.0, False, False)]
    await log.change(erasures=[msgspec.structs.replace(erasure, at=T0 + 600.0)])
    assert await log.find() == History()
    assert told(await log.find("f")) == [(1.0, True, False)]

    await log.change(since=T0 + 3600, watermark=T0 + 3600)
    assert await log.find("f") == History()


@pytest.mark.parametrize("prune", [False, True])
async def test_a_join_that_overtakes_the_look_hides_nothing(log: Log, prune: bool) -> None:
    await log.put(Rank("e", T0 + 1), Obs("e", T0 + 2))
    calls = 0
    for at in range(100):
        fresh = Log()
        await fresh.put(Rank("e", T0 + 1), Obs("e", T0 + 2))
        calls = 0

        async def gate(name: str, done: bool, at: int = at, fresh: Log = fresh) -> None:
            nonlocal calls
            if not done:
                calls += 1
                if calls == at + 1:
                    await fresh.join(T0 + LATER, prune)

        search = Search(WatchedTables(fresh.tables, gate), WatchedBlobs(fresh.blobs, gate), LOOP, "e")
        found, _ = await search.run(T0 + LATER)
        assert [(time, retry) for time, _, retry in told(found)] == [(1.0, False)], f"joined at call {at}"
        if calls <= at:
            break
    assert 5 < calls <= at


async def test_too_much_that_is_pending_is_said(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_MARKS", 5)
    await log.put(Rank("e", T0 + 1), *(Rank(f"other{n}", T0 + n) for n in range(10)))

    found = await log.find()
    assert (found.rankings, len(found.missing)) == ([], 1)
    assert "More than 5 events are not joined yet" in found.missing[0]

    await log.join(T0 + LATER)
    found = await log.find()
    assert told(found) == [(1.0, True, False)]
    assert "More than 5 events were ranked beside it" in found.missing[0]


async def test_a_chain_of_retries_is_followed_so_far(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.put(*(Rank("e", T0 + 100 * n) for n in range(2 * MOST)))
    now = T0 + 200 * MOST + LATER
    await log.join(now)
    reads = 0

    async def gate(name: str, done: bool) -> None:
        nonlocal reads
        reads += name.startswith("query")

    found, _ = await Search(WatchedTables(log.tables, gate), log.blobs, LOOP, "e").run(now)
    assert told(found) == [(0.0, True, False), *((100.0 * n, False, True) for n in range(1, MOST))]
    assert found.missing == [f"No more than {MOST} times are told; there may be more retries."]
    all_reads = reads

    # Each turn of a chain reads a part of what all of them may read.
    reads = 0
    monkeypatch.setattr(history, "MAX_MARKS", 9)
    found, _ = await Search(WatchedTables(log.tables, gate), log.blobs, LOOP, "e").run(now)
    assert told(found) == [(0.0, True, False), *((100.0 * n, False, True) for n in range(1, 5))]
    assert "More than 9 events" in found.missing[0]
    assert reads < all_reads / 2


async def test_the_last_events_retries_are_found_first(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.put(*(Rank("e", T0 + t) for t in (0, 10, 20, 500, 510)))
    await log.join(T0 + 2 * LATER)
    monkeypatch.setattr(history, "MAX_MARKS", 3)

    assert told(await log.find(now=T0 + 2 * LATER))[-2:] == [(500.0, True, False), (510.0, False, True)]


async def test_too_many_pending_observations_are_said(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_OBSERVED", 5)
    await log.put(Rank("e", T0 + 1), *(Obs("e", T0 + 2 + n) for n in range(10)))

    found = await log.find()

    assert len(found.observed) < 10
    assert "More than 5 observations" in found.missing[0]


async def test_of_many_the_last_are_told(log: Log) -> None:
    await log.put(*(Rank("e", T0 + 130 * n) for n in range(MOST + 5)))
    now = T0 + 130 * MOST + LATER
    await log.join(now + LATER)

    found = await log.find(now=now + LATER)

    assert [time for time, _, _ in told(found)] == [130 * n for n in range(5, MOST + 5)]
    assert f"the last {MOST} are told" in found.missing[0]


async def test_it_is_said_how_many_windows_of_the_first_release_were_not_searched(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.put(Rank("e", T0))
    await log.join(T0 + LATER)
    for name in await log.blobs.names(log_path(LOOP)):
        if name.endswith(".index"):
            await log.blobs.delete(name)
    found = await log.find()
    assert (told(found), found.missing) == ([(0.0, True, False)], [])

    monkeypatch.setattr(merged, "MAX_BARE", 0)
    found = await log.find()
    assert (found.rankings, found.observed_since) == ([], math.inf)
    assert "1 windows of an earlier release have no index yet" in found.missing[0]


async def test_from_when_on_all_observations_were_read_is_told(log: Log) -> None:
    await log.put(Rank("e", T0 + 1), *(Obs("e", T0 + 2 + 60 * n) for n in range(MOST + 5)))
    now = T0 + 60 * MOST + LATER
    assert (await log.find(now=now)).observed_since == -math.inf
    await log.join(now)

    found = await log.find(now=now)

    assert found.observed_since == T0 + 60 * 5
    since = [o.t - T0 for o in found.observed if o.t >= found.observed_since]
    assert since == [2 + 60 * n for n in range(5, MOST + 5)]
