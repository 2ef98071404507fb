"""Which versions keep their bytes and for how long, and that those which lose them can be had again, byte for byte."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from dataclasses import replace

import msgspec
import pytest

from shared.counters import Counters
from shared.learning import lineage, pointer, rebuild, registry, thinning
from shared.learning.lesson import Job
from shared.learning.pointer import Pointer
from shared.learning.rebuild import Gone, Rebuilder
from shared.learning.registry import MODEL, Version
from shared.learning.shaping import Shaping
from shared.learning.thinning import YOUNG, Thinned, Thinner, expendable
from shared.learning.trainer import Trainer
from shared.log import joined
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import NOTHING, Erased, Erasure
from shared.log.join import Rules
from shared.log.joined import Window
from shared.log.records import APPRENTICE, ONLINE, digest_of
from shared.loops import policy
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs
from tests.cutoff import Killed
from tests.journalled import LOOP, WatchedBlobs
from tests.unit.learning.test_trainer import lines
from tests.unit.ranking.trained import job, trained_model

DAY = 86_400
NOON = 1_700_006_400 // DAY * DAY + DAY // 2
STEP = 600
"""Seconds from one window, and one version, to the next."""
BAG = "--cb_explore_adf --bag 3 --power_t 0 -l 0.1 -q ::"


class Loop:
    """A loop in memory that makes a version each ten minutes."""

    def __init__(self, arguments: str | None = None) -> None:
        self.blobs = MemoryBlobs()
        self.counters = Counters()
        self.job: Job = job() if arguments is None else job(arguments)
        self.window = 0
        self.bytes: dict[str, bytes] = {}

    @property
    def now(self) -> float:
        return NOON + self.window * STEP + 90.0

    async def learn(self, times: int, **changes: object) -> None:
        for _ in range(times):
            window = Window(NOON + self.window * STEP, NOON + self.window * STEP + 60)
            assert await joined.write(self.blobs, LOOP, window, "dsjson", lines(self.window, 5))
            due = replace(self.job, watermark=window.end, export_frequency=5.0, **changes)  # type: ignore[arg-type]
            assert await Trainer(self.blobs, self.counters).run(due, self.now) is None
            self.window += 1
            await self.remember()

    async def remember(self) -> Version:
        version, _ = await registry.current(self.blobs, LOOP)
        assert version is not None
        if not version.blank:
            self.bytes[version.version] = await registry.load(self.blobs, LOOP, version)
        return version

    async def thin(self, after: float = 3 * DAY, **log: object) -> Thinned:
        checkpoint = Checkpoint(watermark=int(self.now), **log)  # type: ignore[arg-type]
        return await Thinner(self.blobs, LOOP, checkpoint, policy.resumes, self.now + after).run()

    async def stored(self) -> list[str]:
        return [name for name, parts in (await registry.listed(self.blobs, LOOP)).items() if MODEL in parts]

    async def model(self, name: str, since: int = 0, erased: Erased = NOTHING) -> bytes:
        return (await Rebuilder(self.blobs, self.counters).model(LOOP, name, since, erased))[1]

    async def check(self, first: int = 0) -> None:
        for name, data in list(self.bytes.items())[first:]:
            assert await self.model(name) == data


async def test_all_versions_are_kept_for_two_days_and_then_the_first_of_each_hour() -> None:
    loop = Loop()
    await loop.learn(13)
    assert await loop.thin(YOUNG - 13 * STEP) == Thinned()

    assert await loop.thin() == Thinned(thinned=10)

    kept = [name for name in loop.bytes if name in await loop.stored()]
    assert kept == [list(loop.bytes)[n] for n in (0, 6, 12)]
    assert len(await registry.versions(loop.blobs, LOOP)) == 13
    await loop.check()
    assert loop.counters["models.rebuilt"] == 10
    assert await loop.thin() == Thinned()


async def test_versions_are_thinned_as_they_grow_old_whatever_was_thinned_before() -> None:
    loop = Loop()
    await loop.learn(13)
    thinned = 0
    for n in range(20):
        thinned += (await loop.thin(YOUNG + (n - 13) * STEP)).thinned
        await loop.check()

    assert thinned == 10


@pytest.mark.parametrize("after", [False, True])
async def test_a_sweep_that_is_killed_anywhere_is_repeated_to_the_same_end(after: bool) -> None:
    for at in itertools.count():
        loop, calls = Loop(), 0
        await loop.learn(8)

        async def gate(name: str, done: bool, at: int = at) -> None:
            nonlocal calls
            if done is after:
                calls += 1
                if calls == at + 1:
                    raise Killed

        log = Checkpoint(watermark=int(loop.now), since=NOON + 2 * STEP + 200)
        for blobs in (WatchedBlobs(loop.blobs, gate), loop.blobs):
            with contextlib.suppress(Killed):
                await Thinner(blobs, LOOP, log, policy.resumes, loop.now + 3 * DAY).run()
        assert len(await loop.stored()) == 4
        assert len(await registry.listed(loop.blobs, LOOP)) == 7
        if calls <= at:
            break
    assert at > 12


async def test_a_version_that_vw_does_not_learn_repeatably_is_kept() -> None:
    loop = Loop(BAG)
    await loop.learn(6)

    assert await loop.thin() == Thinned()


async def test_an_imported_version_is_kept_and_others_are_rebuilt_from_it() -> None:
    loop = Loop()
    await loop.learn(2)
    made = await pointer.install(
        loop.blobs, LOOP, trained_model(50), loop.job.arguments, loop.job.lineage, NOON + STEP + 60, loop.now - 300
    )
    await loop.remember()
    await loop.learn(4)

    assert (await loop.thin()).thinned == 4

    assert made.version in await loop.stored()
    await loop.check()


async def test_a_new_policys_first_version_is_kept_and_so_is_what_came_before_a_reset() -> None:
    loop = Loop()
    await loop.learn(3)
    first = loop.job
    loop.job = job("--cb_explore_adf --epsilon 0.2 -q Fj")
    await loop.learn(2)
    await pointer.reset(loop.blobs, LOOP, NOON + 4 * STEP + 60, loop.now)
    await loop.learn(2)
    loop.job = first

    await loop.thin()

    names = list(loop.bytes)
    assert [names.index(name) for name in names if name in await loop.stored()] == [0, 3, 5, 6]
    await loop.check()
    known = await registry.versions(loop.blobs, LOOP)
    assert [version.blank for version in known] == [False] * 5 + [True] + [False] * 2
    assert [version.base is None for version in known] == [True, False, False, True, False, True, True, False]
    assert known[3].parent == known[2].version, "which served before is told apart from what was learned on from"


@pytest.mark.parametrize(
    ("log", "begin"), [({"generation": 1}, 0), ({"since": NOON + 5 * STEP}, 0), ({}, int(11.5 * 6))]
)
async def test_what_the_log_cannot_give_again_is_kept(log: dict[str, int], begin: int) -> None:
    """Erased since, deleted since; or made of another day than that of the last event that it ranked."""
    loop = Loop()
    loop.window = begin
    await loop.learn(6)
    thinned = (await loop.thin(YOUNG, **log)).thinned

    assert thinned == (1 if begin else 0)


async def test_records_go_when_the_log_holds_nothing_that_their_versions_ranked() -> None:
    loop = Loop()
    await loop.learn(12)
    since = NOON + 6 * STEP + 1000  # the sixth version was succeeded 910 s before

    assert (await loop.thin(since=since)).forgotten == 6

    assert sorted(await registry.listed(loop.blobs, LOOP)) == sorted(list(loop.bytes)[6:])
    assert (await loop.thin(since=since)).forgotten == 0
    assert (await loop.thin(since=int(loop.now) + 5)).forgotten == 5, "but for the one that serves"


async def test_after_a_deleted_log_versions_stay_for_two_days_all_the_same() -> None:
    loop = Loop()
    await loop.learn(3)

    assert (await loop.thin(3600.0, since=int(loop.now) + 3600)).forgotten == 0
    assert (await loop.thin(3 * DAY, since=int(loop.now) + 3600)).forgotten == 2


async def test_versions_of_a_release_that_kept_no_records_stay_until_their_log_is_gone() -> None:
    loop = Loop()
    await loop.learn(4)
    for name in list(loop.bytes)[:3]:
        await loop.blobs.delete(registry.record_path(LOOP, name))
    serving, etag = await registry.current(loop.blobs, LOOP)
    assert serving is not None
    old = Version(**{f: getattr(serving, f) for f in serving.__struct_fields__[:11]})
    await loop.blobs.delete(registry.record_path(LOOP, old.version))
    await pointer.move(loop.blobs, LOOP, Pointer(old), etag)
    assert await loop.model(old.version) == loop.bytes[old.version]
    await loop.learn(4)

    assert (await loop.thin()).thinned == 2  # the first of the new release is the first of its hour
    await loop.check(3)
    with pytest.raises(Gone, match="no record of model version"):
        await loop.model(next(iter(loop.bytes)))
    assert (await loop.thin(since=NOON + DAY)).forgotten == 7


async def test_a_loop_without_a_model_has_nothing_to_thin() -> None:
    assert await Loop().thin() == Thinned()


# -- rebuilding ------------------------------------------------------------------------------------------------------


async def thinned() -> tuple[Loop, str]:
    """A loop of one thinned version after the other; and the last one of these."""
    loop = Loop()
    await loop.learn(6)
    assert (await loop.thin()).thinned == 4
    return loop, list(loop.bytes)[4]


async def test_a_rebuilt_version_is_kept_in_memory_and_not_stored() -> None:
    loop, name = await thinned()
    rebuilder = Rebuilder(loop.blobs, loop.counters)
    before = await loop.blobs.names("")

    for _ in range(3):
        version, data = await rebuilder.model(LOOP, name, 0, NOTHING)
        assert (version.version, data) == (name, loop.bytes[name])

    assert loop.counters["models.rebuilt"] == 1
    assert await loop.blobs.names("") == before


async def test_a_stored_version_is_fetched_once_for_the_rankings_of_one_call() -> None:
    loop = Loop()
    await loop.learn(1)
    (name,) = loop.bytes
    fetched = 0

    async def gate(call: str, done: bool) -> None:
        nonlocal fetched
        fetched += done and call == "get " + registry.model_path(LOOP, name)

    rebuilder = Rebuilder(WatchedBlobs(loop.blobs, gate), loop.counters)
    for _ in range(3):
        assert (await rebuilder.model(LOOP, name, 0, NOTHING))[1] == loop.bytes[name]

    assert fetched == 1


async def test_only_so_much_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, name = await thinned()
    monkeypatch.setattr(rebuild, "MAX_KEPT", 10)
    rebuilder = Rebuilder(loop.blobs, loop.counters)

    for _ in range(2):
        await rebuilder.model(LOOP, name, 0, NOTHING)

    assert loop.counters["models.rebuilt"] == 2


async def test_modes_are_learned_as_they_changed() -> None:
    loop = Loop()
    await loop.learn(2)
    await loop.learn(1, mode=APPRENTICE)
    await loop.learn(3)
    assert (await loop.thin()).thinned == 4

    await loop.check()


async def test_what_cannot_be_rebuilt_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, name = await thinned()

    with pytest.raises(Gone, match="the log that it learned is deleted"):
        await loop.model(name, since=NOON + 4 * STEP)
    erasure = Erasure("event", digest_of("2-1").hex(), NOON + 10.0 * DAY)
    with pytest.raises(Gone, match="erased since"):
        await loop.model(name, erased=Erased([erasure]))
    monkeypatch.setattr(rebuild, "MAX_LINES", 10)
    with pytest.raises(Gone, match="takes 15 events or more; 10 are learned"):
        await loop.model(name)
    monkeypatch.undo()
    await loop.blobs.delete(registry.record_path(LOOP, list(loop.bytes)[2]))
    with pytest.raises(Gone, match="nor the record of"):
        await loop.model(name)


async def test_what_was_imported_and_is_gone_is_told() -> None:
    loop = Loop()
    made = await pointer.install(loop.blobs, LOOP, trained_model(50), loop.job.arguments, loop.job.lineage, NOON, 5.0)
    await loop.blobs.delete(registry.model_path(LOOP, made.version))

    with pytest.raises(Gone, match="was not made from the log"):
        await loop.model(made.version)


async def test_a_merged_version_that_is_gone_is_told() -> None:
    loop, _ = await thinned()
    merged = replace_record(await registry.recorded(loop.blobs, LOOP, list(loop.bytes)[1]), shards=[(NOON, NOON + 60)])
    path = registry.record_path(LOOP, merged.version)
    await loop.blobs.delete(path)
    await loop.blobs.put(path, msgspec.json.encode(merged))

    with pytest.raises(Gone, match="merged of several"):
        await loop.model(merged.version)


async def test_what_learned_by_changed_rules_is_rebuilt_by_them() -> None:
    """Rebuilding asks the record by which rules each version learned, not the loop."""
    loop = Loop()
    first = Shaping(Rules(600.0, 0.0, "sum", (-1.0, 1.0)), 0.2, ONLINE, 0)
    second = msgspec.structs.replace(first, rules=Rules(600.0, 0.75, "max", (-1.0, 1.0)))
    await loop.learn(7, shaping=first)
    await loop.learn(6, shaping=second)
    assert (await loop.remember()).events == 65
    assert (await loop.thin()).thinned > 0

    await loop.check()
    assert loop.counters["models.rebuilt"] > 0


async def test_the_imported_model_that_one_goes_back_to_is_kept_with_its_record() -> None:
    loop = Loop()
    imported = await pointer.install(
        loop.blobs, LOOP, trained_model(50), loop.job.arguments, loop.job.lineage, NOON - 60, NOON - 60.0
    )
    await loop.learn(13)
    assert (await loop.remember()).origin == imported.version

    thinned = await loop.thin(5 * DAY, since=int(loop.now) + 2 * DAY)

    assert thinned.forgotten > 0
    assert imported.version in await loop.stored()


async def test_a_version_that_vw_refuses_is_told() -> None:
    loop, _ = await thinned()
    bad = replace_record(await registry.recorded(loop.blobs, LOOP, list(loop.bytes)[1]), resuming="--l1 x")
    path = registry.record_path(LOOP, bad.version)
    await loop.blobs.delete(path)
    await loop.blobs.put(path, msgspec.json.encode(bad))

    with pytest.raises(Gone, match="VW does not learn it again"):
        await loop.model(bad.version)


async def test_damaged_bytes_are_no_model() -> None:
    loop = Loop()
    await loop.learn(1)
    (name,) = loop.bytes
    await loop.blobs.delete(registry.model_path(LOOP, name))
    await loop.blobs.put(registry.model_path(LOOP, name), b"x")

    with pytest.raises(StorageError, match="damaged"):
        await loop.model(name)


def replace_record(version: Version | None, **changes: object) -> Version:
    assert version is not None
    return msgspec.structs.replace(version, **changes)


def made(created: float, **given: object) -> Version:
    fields = {"learned_from": NOON, "learned": 10, **given}
    return Version("v", "", "--cb_explore_adf", NOON + 60, 0, 0.0, created, 0.0, **fields)  # type: ignore[arg-type]


def test_what_makes_a_version_expendable() -> None:
    log, kept, version = Checkpoint(since=NOON), made(NOON + 60.0), made(NOON + 120.0)

    def judged(*way: Version, kept: Version = kept, until: float = NOON + 200.0, log: Checkpoint = log) -> bool:
        return expendable(way, kept, until, log, policy.resumes)

    assert judged(version)
    assert judged(version, made(NOON + 90.0))
    assert not judged(version, kept=made(NOON - 1.0)), "the first of its hour"
    assert not judged(version, until=NOON + DAY / 2), "it ranked on another day"
    assert not judged(version, log=Checkpoint(since=NOON + 5))
    assert not judged(version, log=Checkpoint(generation=1))
    assert not judged(version, made(NOON + 90.0, learned_from=None))
    assert not judged(version, made(NOON + 90.0, learned_from=NOON - 5))
    assert not judged(made(NOON + 120.0, learned=rebuild.MAX_LINES - 9), made(NOON + 90.0))
    assert not judged(made(NOON + 120.0, imported=True, learned_from=None))
    assert not judged(made(NOON + 120.0, shards=[(NOON, NOON + 30), (NOON + 30, NOON + 60)]))


# -- which version was the first to learn ----------------------------------------------------------------------------


async def test_the_first_version_that_learned_a_window_is_found() -> None:
    loop = Loop()
    await loop.learn(4)
    windows = await joined.windows(loop.blobs, LOOP, 0, 2**33)

    for n, window in enumerate(windows):
        (line, *_) = await joined.read(loop.blobs, LOOP, window)
        assert await lineage.first_to_learn(loop.blobs, LOOP, window, line) == list(loop.bytes)[n]
        skipped = line.replace(b"{", b'{"_skipLearn":true,', 1)
        assert await lineage.first_to_learn(loop.blobs, LOOP, window, skipped) is None
    after = Window(windows[-1].end, windows[-1].end + 60)
    assert await lineage.first_to_learn(loop.blobs, LOOP, after, line) is None
    assert await lineage.first_to_learn(MemoryBlobs(), LOOP, after, line) is None


async def test_a_version_that_lost_a_race_has_learned_nothing_that_counts() -> None:
    loop = Loop()
    await loop.learn(2)
    records = await registry.versions(loop.blobs, LOOP)
    lost = msgspec.structs.replace(records[0], version=f"{records[0].trained_through:010d}-{'0' * 16}", created=0.0)
    await loop.blobs.put(registry.record_path(LOOP, lost.version), msgspec.json.encode(lost))
    (window, _) = await joined.windows(loop.blobs, LOOP, 0, 2**33)
    (line, *_) = await joined.read(loop.blobs, LOOP, window)

    assert await lineage.first_to_learn(loop.blobs, LOOP, window, line) == records[0].version


async def test_a_model_that_was_made_after_a_reset_has_not_learned_what_came_before() -> None:
    loop = Loop()
    await pointer.reset(loop.blobs, LOOP, NOON + 60, 5.0)
    loop.window = 1
    await loop.learn(1)
    window = Window(NOON, NOON + 60)

    assert await lineage.first_to_learn(loop.blobs, LOOP, window, lines(0, 1)[0]) is None


async def test_each_record_is_read_once_and_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop()
    await loop.learn(6)
    (window, *_) = await joined.windows(loop.blobs, LOOP, 0, 2**33)
    (line, *_) = await joined.read(loop.blobs, LOOP, window)
    other = line.replace(b"{", b'{"mode":"LoggingOnly",', 1)
    skipped = line.replace(b"{", b'{"_skipLearn":true,', 1)
    read: list[str] = []

    async def gate(call: str, done: bool) -> None:
        if done:
            read.append(call)

    async def records(line: bytes) -> int:
        read.clear()
        await lineage.first_to_learn(WatchedBlobs(loop.blobs, gate), LOOP, window, line)
        return sum(call.endswith(registry.RECORD) for call in read)

    assert (await records(line), await records(other)) == (2, 6)
    monkeypatch.setattr(lineage, "_SOON", 2 * STEP)
    assert (await records(line), await records(other)) == (2, 6)
    assert (await records(skipped), read) == (0, [])

    monkeypatch.setattr(lineage, "MAX_RECORDS", 6)
    assert await records(other) == 6
    monkeypatch.setattr(lineage, "MAX_RECORDS", 5)
    with pytest.raises(lineage.TooFar, match="not among the 5 that were read"):
        await records(other)


async def test_a_candidate_is_held_until_a_later_day_confirms_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "_SOON", STEP // 2)
    loop = Loop()
    await loop.learn(2)
    (window, _) = await joined.windows(loop.blobs, LOOP, 0, 2**33)
    (line, *_) = await joined.read(loop.blobs, LOOP, window)

    assert await lineage.first_to_learn(loop.blobs, LOOP, window, line) == next(iter(loop.bytes))


def test_versions_without_records_are_told_by_name() -> None:
    old = Version("0000000100-old", "", "", 100, 0, 0.0, 5.0, 0.0)
    line = lines(0, 1)[0]

    def found(serving: Version, *versions: Version | str) -> str | None:
        trail = lineage.Trail(serving.version, Window(50, 60), line)
        return next((name for version in versions if (name := trail.follow(version)) is not None), None)

    assert found(old, old) == old.version
    assert found(old, "0000000090-older", "0000000095-older", old) == "0000000090-older"
    assert found(old, "0000000090-older") is None
    new = made(6.0, learned_from=100, parent="0000000100-old")
    assert found(new, "0000000090-older", old, new) == "0000000090-older"
    assert found(new, old) is None
    early = made(4.0, learned_from=70)
    assert found(old, "0000000090-older", early, old) == old.version
    imported = msgspec.structs.replace(old, imported=True)
    assert found(new, imported, new) is None


# -- versions that an operator has made serve ------------------------------------------------------------------------


async def test_a_pinned_version_is_kept_with_what_learning_goes_on_from() -> None:
    loop = Loop()
    await loop.learn(4)
    names = list(loop.bytes)
    await pointer.change(loop.blobs, LOOP, lambda before: before.rolled_back(_record(loop, names[1], before), loop.now))
    await loop.learn(8)

    await loop.thin()

    stored = await loop.stored()
    read, _ = await pointer.read(loop.blobs, LOOP)
    assert read is not None
    assert read.serving.version == names[1]
    assert {names[1], read.head.version} <= set(stored)
    assert len(stored) < 8, "the others are thinned as ever"


def _record(loop: Loop, name: str, before: Pointer) -> Version:
    data = loop.bytes[name]
    return msgspec.structs.replace(
        before.serving, version=name, sha256=hashlib.sha256(data).hexdigest(), trained_through=registry.through(name)
    )


async def test_a_version_that_served_again_is_not_forgotten_before_what_it_ranked_then() -> None:
    loop = Loop()
    await loop.learn(4)
    name = next(iter(loop.bytes))
    record = await registry.recorded(loop.blobs, LOOP, name)
    assert record is not None
    await loop.learn(2)
    await pointer.change(loop.blobs, LOOP, lambda before: before.rolled_back(record, loop.now))
    ended = loop.now + 3 * DAY
    await pointer.change(loop.blobs, LOOP, lambda before: before.unpinned(ended))

    await loop.thin(after=4 * DAY, since=int(loop.now + 2 * DAY))
    assert name in await loop.stored(), "the log holds what it ranked until then"
    read, etag = await pointer.read(loop.blobs, LOOP)
    assert read is not None
    await pointer.move(loop.blobs, LOOP, read.trained(read.serving, ended + 1), etag)
    await loop.thin(after=6 * DAY, since=int(loop.now + 5 * DAY))
    assert name not in await registry.listed(loop.blobs, LOOP)


async def test_a_version_serves_until_the_next_one_that_is_not_held_back() -> None:
    made = [Version(f"{n}", "", "", n, 0, 0.0, float(n), 0.0, held="bad" if n in (2, 3) else None) for n in range(1, 5)]

    assert thinning._ends(made) == [4.0, 4.0, 4.0, None]


async def test_a_version_that_is_rolled_back_to_while_it_is_about_to_be_thinned_is_kept() -> None:
    loop = Loop()
    await loop.learn(8)
    name = list(loop.bytes)[2]
    record = await registry.recorded(loop.blobs, LOOP, name)
    assert record is not None
    rolled = False

    async def gate(path: str, done: bool) -> None:
        nonlocal rolled
        if path == f"delete {registry.model_path(LOOP, list(loop.bytes)[1])}" and not done and not rolled:
            rolled = True
            await pointer.change(loop.blobs, LOOP, lambda before: before.rolled_back(record, loop.now))

    checkpoint = Checkpoint(watermark=int(loop.now))
    await Thinner(WatchedBlobs(loop.blobs, gate), LOOP, checkpoint, policy.resumes, loop.now + 3 * DAY).run()

    assert rolled
    assert name in await loop.stored()
    assert list(loop.bytes)[1] not in await loop.stored()


async def test_what_was_learned_while_another_version_was_pinned_has_its_first_version() -> None:
    loop = Loop()
    await loop.learn(2)
    await pointer.change(loop.blobs, LOOP, lambda before: before.pinned(loop.now))
    windows = [Window(NOON + n * STEP, NOON + n * STEP + 60) for n in range(2, 5)]
    await loop.learn(3)
    made = sorted(await registry.listed(loop.blobs, LOOP))

    for n, window in enumerate(windows, 2):
        assert await lineage.first_to_learn(loop.blobs, LOOP, window, lines(n, 1)[0]) == made[n]
