"""Erasures carried out in memory: cut off anywhere, twice at once, beside joins that know nothing of them."""

import asyncio
import base64
import io
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest

from shared.counters import Counters
from shared.learning.lesson import Job
from shared.learning.trainer import Trainer
from shared.log import activity, eraser, erasures, joined, joiner, rows, scrub, slices
from shared.log import checkpoint as checkpoints
from shared.log.buckets import Waits, day_of
from shared.log.eraser import QUIET, Eraser
from shared.log.erasure import Erased, load
from shared.log.erasures import Record
from shared.log.hours import Hours
from shared.log.join import LoopRules
from shared.log.joined import DSJSON, INDEX, OBSERVATIONS, Window
from shared.log.joiner import Joiner
from shared.log.records import digest_of
from shared.log.slices import MAIL, RANKS
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.storage import StorageError, Unavailable
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.cutoff import CutOff, Killed
from tests.journalled import LOOP, T0, Gate, Obs, Rank, WatchedBlobs, WatchedTables, journal
from tests.journalled import Record as Written

SHORT, LONG = Waits(((0, 5.0),)), Waits(((0, 10_800.0),))
ANN, BOB = "a" * 32, "b" * 32
VICTIM = "the-victim"
LATER = 5_000.0
"""Seconds after which all is closed."""


class World:
    """A loop's storage, and the timers over it."""

    def __init__(self, prune: bool = False, waits: Waits = SHORT) -> None:
        self.tables, self.blobs, self.counters = MemoryTables(), MemoryBlobs(), Counters()
        self.rules = LoopRules(LOOP, waits, 0.0, "sum", (-1.0, 1.0))
        self.prune = prune
        self.gate: Gate | None = None
        self.calls = 0
        self.ids = 0

    async def _pass(self, name: str, done: bool) -> None:
        self.calls += not done
        if self.gate is not None:
            await self.gate(name, done)

    @property
    def watched(self) -> tuple[WatchedTables, WatchedBlobs]:
        return WatchedTables(self.tables, self._pass), WatchedBlobs(self.blobs, self._pass)

    async def write(self, records: Iterable[Written], seed: int = 0) -> None:
        await journal(self.tables, list(records), self.rules.waits, seed=seed)

    async def join(self, now: float) -> int:
        spans = (await activity.noted(self.tables)).get(LOOP, [])
        return await Joiner(*self.watched, self.counters, self.prune).run(self.rules, spans, now)

    async def hours(self, now: float) -> int:
        """Write the hours that are closed."""
        spans = (await activity.noted(self.tables)).get(LOOP, [])
        return await Hours(self.watched[1], self.counters).run(self.rules, now, spans)

    async def ask(self, kind: Literal["event", "subject"], name: str, at: float) -> Record:
        self.ids += 1
        key = digest_of(name).hex() if kind == "event" else name
        return await erasures.ask(self.blobs, LOOP, kind, key, at, self.ids.to_bytes(8))

    async def erase(self, now: float, patience: float = 1e9, eraser_: Eraser | None = None) -> float | None:
        return await (eraser_ or Eraser(*self.watched, self.counters)).run(LOOP, self.rules.waits, now, patience)

    async def finish(self, now: float) -> None:
        """Run the timers until no erasure is in force."""
        for _ in range(6):
            await self.join(now)
            if self.counters["hours.parts"]:
                await self.hours(now)
            if await self.erase(now) is None:
                break
            now += QUIET + 1
        assert (await checkpoints.load(self.blobs, LOOP))[0].erasures == []

    async def lines(self, kind: str = DSJSON) -> list[bytes]:
        """What every reader finds in the joined log."""
        held, _ = await checkpoints.load(self.blobs, LOOP)
        erased = await load(self.blobs, held.erasures)
        found: list[bytes] = []
        for window in await joined.windows(self.blobs, LOOP, held.since, held.watermark, kind):
            lines = await joined.read_whole(self.blobs, LOOP, window, kind)
            found += erased.joined(lines, window.start) if kind == DSJSON else erased.observation_lines(lines)
        return found

    async def stored(self) -> AsyncIterator[bytes]:
        """All bytes that are stored, compressed ones as they were before."""
        for path in await self.blobs.names(""):
            blob = await self.blobs.get(path)
            assert blob is not None
            yield path.encode()
            yield blob.data
            if path.endswith(".zst") or path.startswith("journal/"):
                yield rows.decompress(blob.data)
            if path.endswith(".parquet"):
                yield repr(pq.read_table(io.BytesIO(blob.data)).to_pylist()).encode()
        for table in await self.tables.names(""):
            async for row, _ in self.tables.query(table, ("", "~")):
                yield repr(row).encode()
                if "f" in row:
                    yield b"\n".join(await rows.lines(row, self.blobs))

    async def residue(self, *names: str) -> list[str]:
        """Which of some names are stored anywhere, or by their digest, as it is or in a document's digits.

        Documents may name what is being erased until that is done.
        """
        in_force = (await checkpoints.load(self.blobs, LOOP))[0].erasures
        spelled = {name: () if in_force else digits(digest_of(name)) for name in names}
        needles = {name: (name.encode(), digest_of(name), *spelled[name]) for name in names}
        pieces = [piece async for piece in self.stored()]
        return sorted(name for name in names if any(needle in piece for piece in pieces for needle in needles[name]))

    async def learned(self) -> bytes:
        """The model that a new policy makes of the log."""
        held, _ = await checkpoints.load(self.blobs, LOOP)
        arguments = DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]
        erased = Erased(held.erasures)
        job = Job(LOOP, arguments, "", "", False, "Online", held.watermark, held.since, 0, 5.0, erased)
        made = MemoryBlobs()
        for path in await self.blobs.names(joined.log_path(LOOP)):
            blob = await self.blobs.get(path)
            assert blob is not None
            await made.put(path, blob.data, None, blob.metadata)
        await Trainer(made, Counters()).run(job, 1e9)
        (path,) = [path for path in await made.names(f"loops/{LOOP}/models/") if path.endswith("model.vw")]
        model = await made.get(path)
        assert model is not None
        return model.data


def digits(digest: bytes) -> tuple[bytes, bytes]:
    """How a document spells a digest, and what begins with one."""
    return digest.hex().encode(), base64.b64encode(digest)[:10]  # the rest depends on what follows


@pytest.fixture
def world() -> World:
    return World()


def story(seed: int = 0, count: int = 60) -> list[Written]:
    """Two minutes: every sixth event is Ann's, every seventh Bob's, one is the victim; rewards in and out of time."""
    chance = random.Random(seed)
    records: list[Written] = []
    for n in range(count):
        t = round(T0 + 120 * n / count + chance.random(), 6)
        subject = ANN if n % 6 == 1 else BOB if n % 7 == 2 else None
        name = VICTIM if n == count // 3 + 1 else f"{subject[0] if subject else 'e'}-event-{n:03}"
        records.append(Rank(name, t, subject=subject, chosen=n % 3))
        if n % 3 != 2:
            records.append(Obs(name, round(t + chance.uniform(0, 4.5), 6), 0.5))
        if n % 5 == 0:
            records.append(Obs(name, round(t + chance.uniform(5.5, 9.0), 6), 0.25))  # too late to count
    return records


def less(records: list[Written], *, events: Iterable[str] = (), subject: str | None = None) -> list[Written]:
    """The records without those of some events and of a subject."""
    gone = {*events, *(r.id for r in records if isinstance(r, Rank) and subject and r.subject == subject)}
    return [r for r in records if r.id not in gone]


def named(records: list[Written], subject: str) -> list[str]:
    return [r.id for r in records if isinstance(r, Rank) and r.subject == subject]


async def told(records: list[Written], waits: Waits = SHORT) -> World:
    """What storage holds where nothing else was ever told."""
    world = World(waits=waits)
    await world.write(records)
    await world.join(T0 + 10 * LATER)
    return world


async def same_log(world: World, wanted: World) -> None:
    for kind in (DSJSON, OBSERVATIONS):
        assert sorted(await world.lines(kind)) == sorted(await wanted.lines(kind))


@pytest.mark.parametrize("joined_to", [0, 40, 90, 4000])
@pytest.mark.parametrize("prune", [False, True])
async def test_an_event_is_gone_from_all_that_is_stored_and_nothing_else_is(joined_to: int, prune: bool) -> None:
    records, world = story(), World(prune)
    await world.write(records)
    await world.join(T0 + joined_to)

    record = await world.ask("event", VICTIM, T0 + 140.0)
    assert VICTIM not in str(await world.lines())
    await world.finish(T0 + LATER)

    assert await world.residue(VICTIM) == []
    await same_log(world, await told(less(records, events=[VICTIM])))
    done = await erasures.find(world.blobs, LOOP, record.id)
    assert done is not None
    assert done.done is not None
    assert done.removed.events == 1
    assert (await erasures.progress(world.blobs, LOOP))[0] == erasures.Progress()
    assert (world.counters["erase.done"], world.counters["join.late_rows"]) == (1, 0)
    assert world.counters["erase.events"] == (joined_to == 4000 or joined_to == 90)


@pytest.mark.parametrize("joined_to", [0, 40, 90, 4000])
@pytest.mark.parametrize("prune", [False, True])
async def test_a_subject_is_gone_with_all_that_came_of_its_events(joined_to: int, prune: bool) -> None:
    records, world = story(), World(prune)
    await world.write(records)
    await world.join(T0 + joined_to)

    record = await world.ask("subject", ANN, T0 + 140.0)
    assert ANN not in str(await world.lines())
    await world.finish(T0 + LATER)

    assert await world.residue(ANN, *named(records, ANN)) == []
    await same_log(world, await told(less(records, subject=ANN)))
    done = await erasures.find(world.blobs, LOOP, record.id)
    assert done is not None
    assert done.removed.events == len(named(records, ANN))
    assert done.removed.observations == sum(r.id in named(records, ANN) for r in records if isinstance(r, Obs))
    assert [path for path in await world.blobs.names(erasures.folder(LOOP)) if path.endswith(".marks")] == []
    assert world.counters["join.late_rows"] == 0


@pytest.mark.parametrize("asked", [130.0, 2000.0, 5000.0])
@pytest.mark.parametrize("kind", ["event", "subject"])
async def test_mail_of_long_waits_is_rewritten_before_its_windows_are_joined(
    kind: Literal["event", "subject"], asked: float
) -> None:
    records, world = story(), World(waits=LONG)
    names = [VICTIM] if kind == "event" else named(records, ANN)
    records += [Obs(name, T0 + 1500.0 + n, 0.125) for name in names for n in range(2)]
    await world.write([r for r in records if r.t < T0 + asked])
    await world.join(T0 + asked)
    mail = [
        await world.blobs.get(slices.path(LOOP, held, MAIL)) for held in await slices.stored(world.blobs, LOOP, MAIL)
    ]
    parts = [rows.decompress(part.data) for blob in mail if blob for part in slices.decode(blob.data)]
    assert any(names[-1].encode() in part for part in parts) == (asked > 1000)

    await world.ask(kind, VICTIM if kind == "event" else ANN, T0 + asked)
    await world.write([r for r in records if r.t >= T0 + asked and r.id not in names], seed=1)
    now = T0 + asked + 100
    assert await world.erase(now) is not None
    assert [name for name in names if any([name.encode() in piece async for piece in world.stored()])] == []
    assert [name for name in names if digest_of(name) in await events_of_slices(world)] == []
    await world.join(now + 2000)
    assert [name for name in names if digest_of(name) in await events_of_slices(world)] == []
    await world.finish(T0 + 10 * LATER)

    kept = [r for r in records if r.id not in names]
    await same_log(world, await told(kept, LONG))
    assert await world.residue(*names, ANN if kind == "subject" else VICTIM) == []
    assert world.counters["join.late_rows"] == 0


async def events_of_slices(world: World) -> list[bytes]:
    """The digests that slices hold of the events whose rewards they route."""
    found = []
    for held in await slices.stored(world.blobs, LOOP, RANKS):
        blob = await world.blobs.get(slices.path(LOOP, held, RANKS))
        assert blob is not None
        for part in slices.decode(blob.data):
            found += [part.data[n : n + 8] for n in range(0, len(part.data), 8)]
    return found


@pytest.mark.parametrize("routed", [False, True], ids=["before it is routed", "when it is routed"])
async def test_slices_forget_the_events_that_are_erased_and_no_others(routed: bool) -> None:
    other, again = Rank("other", T0 + 2.0), Rank("again", T0 + 200.0)
    world = World(waits=LONG)
    await world.write([Rank(VICTIM, T0 + 1.0), other, Rank("again", T0 + 3.0), again])
    if routed:
        await world.join(T0 + 900)
        assert digest_of(VICTIM) in await events_of_slices(world)
    await world.ask("event", VICTIM, T0 + 140.0)
    await world.ask("event", "again", T0 + 140.0)  # of which the second one, in the same window, is another event
    await world.join(T0 + 900)
    assert routed == (digest_of(VICTIM) in await events_of_slices(world))

    assert await world.erase(T0 + 900) is not None

    assert set(await events_of_slices(world)) == {digest_of("other"), digest_of("again")}
    await world.finish(T0 + 10 * LATER)
    await same_log(world, await told([other, again], LONG))


async def test_what_has_another_generation_is_still_indexed_and_read(world: World) -> None:
    records = story()
    await world.write(records)
    await world.join(T0 + LATER)
    await world.ask("event", VICTIM, T0 + 140.0)
    await world.finish(T0 + LATER)

    for window in await joined.windows(world.blobs, LOOP, 0, 2**33):
        if window.generation == 0:
            continue
        held = await joined.stored(world.blobs, LOOP)
        assert {kind: list(sizes) for kind, sizes in held[window.start, window.end].items()} == {
            kind: [window.generation] for kind in (DSJSON, OBSERVATIONS, INDEX)
        }
        break
    else:
        pytest.fail("no window was rewritten")


async def test_windows_without_any_of_it_are_left_alone(world: World) -> None:
    await world.write([Rank(f"e{n}", T0 + 60.0 * n) for n in range(20)])
    await world.join(T0 + LATER)
    before = await world.blobs.names(joined.log_path(LOOP))
    await world.ask("event", "unheard-of", T0 + 1300.0)
    await world.finish(T0 + LATER)

    assert await world.blobs.names(joined.log_path(LOOP)) == before
    assert world.counters["erase.done"] == 1


async def test_of_whole_windows_one_is_held_at_a_time_and_indexes_are_read_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 2)
    await world.write([Rank(f"e{n}", T0 + 10.0 * n, subject=ANN) for n in range(40)])
    await world.join(T0 + LATER)
    now, most = Counter[str](), Counter[str]()

    def watch(name: str, what: str) -> None:
        call = getattr(scrub, name)

        async def watched(*arguments: Any) -> Any:
            now[what] += 1
            most[what] = max(most[what], now[what])
            for _ in range(5):
                await asyncio.sleep(0)  # in which others would come in
            try:
                return await call(*arguments)
            finally:
                now[what] -= 1

        monkeypatch.setattr(scrub, name, watched)

    watch("events", "whole windows")
    watch("window", "whole windows")
    watch("table_of", "indexes")
    await world.ask("subject", ANN, T0 + 1000.0)
    await world.finish(T0 + LATER)

    assert world.counters["erase.events"] == 40
    assert most["whole windows"] == 1
    assert most["indexes"] > 5


@pytest.mark.parametrize("kind", ["event", "subject"])
async def test_a_window_of_which_nothing_is_left_is_deleted(world: World, kind: Literal["event", "subject"]) -> None:
    await world.write([Rank(VICTIM, T0 + 1.0, subject=ANN), Obs(VICTIM, T0 + 2.0)])
    await world.join(T0 + LATER)
    await world.ask(kind, VICTIM if kind == "event" else ANN, T0 + 140.0)
    await world.finish(T0 + LATER)

    assert await world.blobs.names(joined.log_path(LOOP)) == []
    assert await world.residue(VICTIM, ANN) == []


async def test_the_same_id_counts_again_when_it_comes_later(world: World) -> None:
    await world.write([Rank(VICTIM, T0 + 1.0), Obs(VICTIM, T0 + 2.0), Rank("other", T0 + 3.0)])
    await world.ask("event", VICTIM, T0 + 50.0)
    again: list[Written] = [
        Rank(VICTIM, T0 + 61.0, chosen=2),
        Obs(VICTIM, T0 + 62.0, 0.25),
    ]  # within two minutes of the first
    await world.write(again, seed=1)
    await world.finish(T0 + LATER)

    wanted = await told([Rank("other", T0 + 3.0), *again])
    await same_log(world, wanted)
    assert (await checkpoints.load(world.blobs, LOOP))[0].retries == 0


async def test_an_erasure_waits_until_no_row_of_it_can_be_written(world: World) -> None:
    await world.write([Rank(VICTIM, T0 + 1.0)])
    at = T0 + 3.0
    record = await world.ask("event", VICTIM, at)
    closes = SHORT.closes(T0) + 1.0
    for now in (at, closes - 0.1):
        assert await world.erase(now) == now + eraser.LOOK_AGAIN
        assert await world.residue(VICTIM) == [VICTIM]
    await world.write([Obs(VICTIM, T0 + 2.0)], seed=1)  # a row that was on its way
    await world.erase(closes)
    assert await world.residue(VICTIM) == []

    assert (await checkpoints.load(world.blobs, LOOP))[0].erasures != []
    for now, left in ((closes + QUIET - 1, 1), (closes + QUIET, 0)):
        await world.erase(now)
        held = (await checkpoints.load(world.blobs, LOOP))[0].erasures
        assert len(held) == left
        found = await erasures.find(world.blobs, LOOP, record.id)
        assert found is not None
        assert found.done == (None if left else now)


async def stale_join(world: World, meanwhile: "asyncio.Event", stopped: "asyncio.Event") -> None:
    """A join that stops before it writes its first window, until it is let go."""

    async def gate(name: str, done: bool) -> None:
        if name.endswith(".dsjson.zst") and not done and name.startswith("put"):
            stopped.set()
            await meanwhile.wait()

    spans = (await activity.noted(world.tables)).get(LOOP, [])
    tables, blobs = WatchedTables(world.tables, gate), WatchedBlobs(world.blobs, gate)
    await Joiner(tables, blobs, world.counters).run(world.rules, spans, T0 + LATER)


@pytest.mark.parametrize("kind", ["event", "subject"])
@pytest.mark.parametrize("joined_first", [False, True])
async def test_a_join_that_knew_nothing_cannot_bring_it_back(
    world: World, kind: Literal["event", "subject"], joined_first: bool
) -> None:
    records: list[Written] = [Rank(VICTIM, T0 + 1.0, subject=ANN), Obs(VICTIM, T0 + 2.0), Rank("other", T0 + 100.0)]
    await world.write(records)
    let_go, stopped = asyncio.Event(), asyncio.Event()
    late = asyncio.ensure_future(stale_join(world, let_go, stopped))
    await stopped.wait()

    await world.ask(kind, VICTIM if kind == "event" else ANN, T0 + 140.0)
    now = T0 + LATER
    if joined_first:
        await world.join(now)
    await world.erase(now)
    let_go.set()
    await late
    assert VICTIM not in str(await world.lines()) + str(await world.lines(OBSERVATIONS))
    await world.finish(now + QUIET + 1)

    assert await world.residue(VICTIM, ANN) == []
    await same_log(world, await told([Rank("other", T0 + 100.0)]))


@pytest.mark.parametrize("effect", ["killed", "reply lost"])
async def test_a_row_that_storage_took_very_late_is_found_by_the_pass_that_confirms(effect: str) -> None:
    """Its mark is kept before it goes, wherever that is cut off: its observations are known by nothing else."""
    for n in itertools.count():
        world, now = World(), T0 + LATER
        await world.write([Rank("ann-1", T0 + 1.0, subject=ANN), Rank("other", T0 + 100.0)])
        await world.join(now)
        await world.ask("subject", ANN, T0 + 140.0)
        await world.erase(now)
        await world.write([Obs("ann-2", T0 + 3.0)], seed=2)
        await world.write([Rank("ann-2", T0 + 2.0, subject=ANN)], seed=1)
        gate = world.gate = CutOff(n, effect)
        with suppress(Killed, Unavailable):
            await world.erase(now + QUIET + 1)
        world.gate = None
        await world.finish(now + 2 * QUIET + 2)

        assert await world.residue(ANN, "ann-1", "ann-2") == []
        if not gate.reached:
            break  # beyond the last call
    assert n > 10


async def test_who_shares_a_place_with_what_is_found_late_is_not_done_before_it_is_gone(world: World) -> None:
    await world.write([Rank("ann-1", T0 + 1.0, subject=ANN), Rank(VICTIM, T0 + 1.5), Rank("other", T0 + 100.0)])
    await world.join(T0 + LATER)
    await world.ask("subject", ANN, T0 + 140.0)
    await world.ask("event", VICTIM, T0 + 140.0)
    await world.erase(T0 + LATER)
    # A row that storage took very late, with what is found by it and what is not.
    late, key = [Rank("ann-2", T0 + 2.0, subject=ANN), Rank(VICTIM, T0 + 2.5)], rows.partition_key(0, T0)
    lines = [rank.line() for rank in late]
    named = rows.RowKey(rows.table_name("rank", LOOP, day_of(T0)), key, "w_0000000009")
    marks = b"".join(rank.mark() for rank in late)
    row = rows.pack(named, rows.compress(lines), 2, sum(map(len, lines)), marks)
    await world.tables.put(named.table, row)
    await world.finish(T0 + LATER + QUIET + 1)

    assert await world.residue(ANN, "ann-1", "ann-2", VICTIM) == []


async def test_one_that_was_overtaken_does_not_bring_back_what_a_row_could_not_hold(world: World) -> None:
    noise, now = random.Random(1), T0 + 600.0
    large = [_large(f"big-{n}", T0 + 1.0 + n / 2, noise, None) for n in range(6)]
    key = rows.RowKey(rows.table_name("rank", LOOP, day_of(T0)), rows.partition_key(0, T0), "w_0000000001")
    lines = [rank.line() for rank in large]
    marks = b"".join(rank.mark() for rank in large)
    path, frame = rows.overflow_path(key), rows.compress(lines)
    await activity.note_rows(world.tables, activity.span_of(LOOP, 0, T0, LONG))
    await world.blobs.put(path, frame)
    await world.tables.put(key.table, rows.pack(key, frame, len(lines), sum(map(len, lines)), marks))
    world.rules = LoopRules(LOOP, LONG, 0.0, "sum", (-1.0, 1.0))
    await world.ask("event", "big-0", T0 + 140.0)
    overtaken = False

    async def gate(name: str, done: bool) -> None:
        nonlocal overtaken
        if done and not overtaken and name == f"get {path}":  # it has read the lines
            overtaken = True
            await world.ask("event", "big-1", T0 + 140.0)
            await Eraser(world.tables, world.blobs, world.counters).run(LOOP, LONG, now, 1e9)

    world.gate = gate
    await world.erase(now)
    world.gate = None
    assert overtaken
    await world.finish(now)
    await world.join(T0 + 86_400.0)

    assert await world.residue("big-0", "big-1") == []
    assert len(await world.lines()) == 4


@pytest.mark.no_cover
@pytest.mark.parametrize("written", ["", "before", "since"])
@pytest.mark.parametrize("effect", ["killed", "reply lost"])
@pytest.mark.parametrize("kind", ["event", "subject"])
async def test_a_run_may_be_cut_off_anywhere(effect: str, kind: Literal["event", "subject"], written: str) -> None:
    """Where the hour was not written, or was before the erasure was asked for, or since."""
    records = story(count=14)
    wanted = await told(less(records, events=[VICTIM]) if kind == "event" else less(records, subject=ANN))
    names = [VICTIM] if kind == "event" else [ANN, *named(records, ANN)]
    for n in itertools.count():
        world = World()
        await world.write(records)
        await world.join(T0 + (LATER if written else 70))
        assert written != "before" or await world.hours(T0 + LATER) == 1
        await world.ask(kind, names[0], T0 + 140.0)
        assert written != "since" or await world.hours(T0 + LATER) == 1
        gate = world.gate = CutOff(n, effect)
        now = T0 + LATER
        for _ in range(3):
            try:
                await world.join(now)
                await world.erase(now)
                if written:
                    await world.hours(now)
            except (Killed, Unavailable):
                for _ in range(40):  # what was begun beside it goes on, as a request that is on its way does
                    await asyncio.sleep(0)
            seen = str(await world.lines())
            assert not any(name in seen for name in names)
            now += QUIET + 1
        world.gate = None
        await world.finish(now)

        assert await world.residue(*names) == []
        await same_log(world, wanted)
        if not gate.reached:
            break  # beyond the last call
    assert n > 60


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(12))
async def test_runs_that_race_lose_nothing_and_keep_nothing(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 10)
    chance, records = random.Random(seed), story(seed)
    world = World(prune=seed % 3 == 0)
    await world.write(records, seed)
    await world.join(T0 + chance.uniform(0, 200))

    async def gate(name: str, done: bool) -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    async def failing_softly(work: object) -> None:
        try:
            await work  # type: ignore[misc]
        except StorageError as e:
            assert "is gone" in str(e)  # another run has replaced it: the next one goes on

    world.gate = gate
    now = T0 + LATER
    for _ in range(3):
        runs = [world.join(now), world.erase(now), world.ask("subject", ANN, T0 + 140.0), world.join(now)]
        runs += [world.ask("event", VICTIM, T0 + 140.0), world.erase(now), world.erase(now, 0.0), world.hours(now)]
        chance.shuffle(runs)
        await asyncio.gather(*map(failing_softly, runs))
        assert VICTIM not in str(await world.lines())
        now += QUIET + 1
    world.gate = None
    await world.finish(now)

    assert await world.residue(VICTIM, ANN, *named(records, ANN)) == []
    await same_log(world, await told(less(records, events=[VICTIM], subject=ANN)))


async def test_a_run_that_has_no_time_left_is_gone_on_with(world: World) -> None:
    records = story()
    await world.write(records)
    await world.join(T0 + LATER)
    await world.ask("subject", ANN, T0 + 140.0)
    steps = 0
    now = T0 + LATER
    while (await checkpoints.load(world.blobs, LOOP))[0].erasures:
        again = await world.erase(now, -1.0)  # one place a run
        assert again is not None
        now = max(now, again)
        steps += 1
        assert steps < 500
    await world.erase(now)

    assert steps > 50
    assert await world.residue(ANN, *named(records, ANN)) == []
    await same_log(world, await told(less(records, subject=ANN)))


async def test_many_erasures_share_their_passes(world: World) -> None:
    ranks = [Rank(f"event-{n:03}", T0 + n / 2, subject=f"{n // 10:032x}") for n in range(200)]
    records: list[Written] = [*ranks, *(Obs(rank.id, rank.t + 1.0) for rank in ranks)]
    await world.write(records)
    await world.join(T0 + LATER)
    for n in range(50):
        await world.ask("event", f"event-{n:03}", T0 + 200.0)
    for n in range(10, 20):
        await world.ask("subject", f"{n:032x}", T0 + 200.0)
    world.calls = 0
    await world.erase(T0 + LATER)
    one_pass = world.calls
    await world.finish(T0 + LATER + QUIET + 1)

    assert one_pass < 700
    assert world.counters["erase.done"] == 60
    gone = [f"event-{n:03}" for n in (*range(50), *range(100, 200))]
    assert await world.residue(*gone) == []
    await same_log(world, await told([r for r in records if r.id not in gone]))


async def test_an_erasure_that_comes_while_another_is_carried_out_waits_for_the_next_pass(world: World) -> None:
    records = story()
    await world.write(records)
    await world.join(T0 + LATER)
    await world.ask("event", VICTIM, T0 + 140.0)
    now = T0 + LATER
    for _ in range(5):
        await world.erase(now, -1.0)
    await world.ask("subject", ANN, T0 + 140.0)
    await world.finish(now)

    assert await world.residue(VICTIM, ANN, *named(records, ANN)) == []
    await same_log(world, await told(less(records, events=[VICTIM], subject=ANN)))


async def test_windows_without_an_index_are_looked_into(world: World) -> None:
    records = story()
    await world.write(records)
    await world.join(T0 + LATER)
    for path in await world.blobs.names(joined.log_path(LOOP)):
        if path.endswith(".index"):
            await world.blobs.delete(path)
    await world.ask("subject", ANN, T0 + 140.0)
    await world.ask("event", VICTIM, T0 + 140.0)
    await world.finish(T0 + LATER)

    assert await world.residue(VICTIM, ANN, *named(records, ANN)) == []
    await same_log(world, await told(less(records, events=[VICTIM], subject=ANN)))


@pytest.mark.parametrize("left", ["nothing", "little", "much"])
async def test_what_a_row_could_not_hold_is_rewritten_too(world: World, left: str) -> None:
    noise = random.Random(1)
    big = {"little": 2, "nothing": 2, "much": 4}[left]
    records = [_large(f"big-{n}", T0 + 1.0 + n, noise, ANN if n < 2 else None) for n in range(big)]
    if left == "little":
        records.append(Rank("small", T0 + 4.5))
    key = rows.RowKey(rows.table_name("rank", LOOP, day_of(T0)), rows.partition_key(0, T0), "w_0000000001")
    lines = [record.line() for record in records]
    frame = rows.compress(lines)
    row = rows.pack(key, frame, len(lines), sum(map(len, lines)), b"".join(r.mark() for r in records))
    assert "b" in row
    await world.blobs.put(rows.overflow_path(key), frame)
    await world.tables.put(key.table, row)
    await world.blobs.put(rows.overflow_path(key) + "9", frame)  # its writer died before it wrote the row
    await world.ask("subject", ANN, T0 + 140.0)
    await world.finish(T0 + LATER)

    assert await world.residue(ANN, "big-0", "big-1") == []
    kept = [row async for row, _ in world.tables.query(key.table, ("", "~"))]
    assert len(await world.blobs.names("journal/")) == (left == "much")
    assert [line for row in kept for line in await rows.lines(row, world.blobs)] == [
        r.line() for r in records if r.subject is None
    ]


@pytest.mark.no_cover
@pytest.mark.parametrize("stream", ["rank", "obs"])
@pytest.mark.parametrize("effect", ["killed", "reply lost"])
async def test_what_a_row_could_not_hold_can_be_read_wherever_a_run_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, effect: str, stream: str
) -> None:
    noise = random.Random(1)
    ids = [f"{noise.randbytes(60).hex()}-{n}" for n in range(6)]
    ranked = [Rank(one, T0 + n / 10) for n, one in enumerate(ids)]
    rewards = [Obs(one, T0 + 1 + n / 10) for n, one in enumerate(ids)]
    large, others = (ranked, rewards) if stream == "rank" else (rewards, ranked)
    gone = ids[:2]
    key = rows.RowKey(rows.table_name(stream, LOOP, day_of(T0)), rows.partition_key(0, T0), "w_0000000001")
    every: list[Written] = [*ranked, *rewards]
    wanted = await told(less(every, events=gone))
    for n in itertools.count():
        world = World()
        monkeypatch.undo()
        await world.write(others)
        monkeypatch.setattr(rows, "CAPACITY", 300)  # which even what is left goes beyond
        lines = [record.line() for record in large]
        marks = b"".join(r.mark() for r in large if isinstance(r, Rank))
        await activity.note_rows(world.tables, activity.span_of(LOOP, 0, T0, SHORT))
        await world.blobs.put(rows.overflow_path(key), rows.compress(lines))
        await world.tables.put(key.table, rows.pack(key, rows.compress(lines), 6, sum(map(len, lines)), marks))
        for name in gone:
            await world.ask("event", name, T0 + 140.0)

        gate = world.gate = CutOff(n, effect)
        with suppress(Killed, Unavailable):
            await world.erase(T0 + LATER)
        world.gate = None
        await world.finish(T0 + LATER)

        ((row, _),) = [found async for found in world.tables.query(key.table, ("", "~"))]
        assert row["n"] == len(await rows.lines(row, world.blobs)) == 4
        assert await world.residue(*gone) == []
        await same_log(world, wanted)
        if not gate.reached:
            break  # beyond the last call
    assert n > 20


def _large(name: str, t: float, noise: random.Random, subject: str | None) -> Rank:
    class Large(Rank):
        def line(self) -> bytes:
            return super().line()[:-2] + b',"x":"' + noise_text + b'"}}'

    noise_text = noise.randbytes(400_000).hex().encode()
    return Large(name, t, subject=subject)


async def test_a_model_that_is_begun_afterwards_is_the_one_of_a_log_without_it(world: World) -> None:
    records = story()
    await world.write(records)
    await world.join(T0 + LATER)
    with_it = await world.learned()
    await world.ask("event", VICTIM, T0 + 140.0)
    await world.ask("subject", ANN, T0 + 140.0)
    at_once = await world.learned()
    await world.finish(T0 + LATER)

    wanted = await (await told(less(records, events=[VICTIM], subject=ANN))).learned()
    assert with_it != wanted
    assert at_once == wanted
    assert await world.learned() == wanted


async def test_found_marks_that_are_gone_stop_whoever_needs_them(world: World) -> None:
    await world.write([Rank("ann-1", T0 + 1.0, subject=ANN), Rank("b", T0 + 1000.0)])
    await world.join(T0 + 200)
    await world.ask("subject", ANN, T0 + 140.0)
    await world.erase(T0 + 300)
    for path in await world.blobs.names(erasures.folder(LOOP)):
        await world.blobs.delete(path)

    with pytest.raises(StorageError, match="is gone"):
        await world.join(T0 + LATER)


async def test_nothing_is_done_where_no_erasure_is_in_force(world: World) -> None:
    assert await world.erase(T0 + LATER) is None
    assert world.calls <= 4


def test_a_windows_name_tells_its_generation() -> None:
    assert joined.window_path(LOOP, Window(T0, T0 + 60, 3), INDEX).endswith(f"{T0}-{T0 + 60}.3.index")
