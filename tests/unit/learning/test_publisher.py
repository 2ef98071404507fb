"""What of the versions that a trainer makes serves, what is held back, and what learning goes on from then."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import replace

import msgspec
import pytest

from shared.learning import pointer, registry, vetter
from shared.learning.lesson import Job
from shared.learning.model import Learner, ModelError, Scores, ServingModel
from shared.learning.pointer import Pointer
from shared.learning.registry import Version
from shared.learning.trainer import Trainer
from shared.learning.weights import weights
from shared.log import joined
from shared.log.joined import Window
from shared.log.records import ONLINE
from shared.storage.memory import MemoryBlobs
from tests.cutoff import Killed
from tests.journalled import LOOP, T0, WatchedBlobs
from tests.unit.learning.test_trainer import WINDOW, Bench, learned_by_hand, slot_lines
from tests.unit.ranking.trained import SLOTS, job, joined_line

QUICK = "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.1 --cb_type mtr -q ::"
BLIND = f"{QUICK} --ignore j"
"""A policy that does not see what decides."""
QUICK_JOB = job(QUICK)


def world(window: int, count: int = 400, inverted: bool = False) -> list[bytes]:
    """Events of a world that can be learned; or of the one in which all that pays there does not, and the other way."""
    r = random.Random(window)
    whole = b'"Timestamp":"2026-01-01T00:00:00Z","VWState":{"m":"N/A"},"EventId"'
    lines = [joined_line(r).replace(b'"EventId"', whole, 1) for _ in range(count)]
    if not inverted:
        return lines
    turned = {b"-1.0": b"0.0", b"0.0": b"-1.0"}
    heads = [line.removeprefix(b'{"_label_cost":').partition(b",") for line in lines]
    return [b'{"_label_cost":' + turned[cost] + comma + rest for cost, comma, rest in heads]


class Loop(Bench):
    """A loop that learns quickly."""

    def __init__(self) -> None:
        super().__init__()
        self.windows = 0

    async def learn(self, *lines: list[bytes], of: Job = QUICK_JOB) -> Pointer:
        """Join lines, a window each, and train; returns where the pointer stands then."""
        for some in lines:
            await self.log_lines(self.windows, some)
            self.windows += 1
        due = replace(of, watermark=T0 + self.windows * WINDOW, export_frequency=5.0)
        self.now = 1000.0 * (self.windows + 1)
        await Trainer(self.blobs, self.counters).run(due, self.now)
        return await self.pointer()

    async def pointer(self) -> Pointer:
        read, _ = await pointer.read(self.blobs, LOOP)
        assert read is not None
        return read

    async def plant(self, version: Version, model: bytes) -> Version:
        """Make a model serve that never came from a trainer, under its own correct hash."""
        name = registry.version_name(version.trained_through, model)
        planted = msgspec.structs.replace(version, version=name, sha256=hashlib.sha256(model).hexdigest())
        await registry.store(self.blobs, LOOP, planted, model)
        _, etag = await pointer.read(self.blobs, LOOP)
        await pointer.move(self.blobs, LOOP, Pointer(planted), etag)
        return planted


def spoiled(model: bytes, value: float = math.nan) -> bytes:
    """The model with one weight that is no number, or infinite: the one that most examples meet."""
    learner = Learner("", model)
    place = max(weights(model), key=lambda place: abs(weights(model)[place]))
    learner._workspace.set_weight(place, 0, value)
    data = learner.save()
    learner.close()
    return data


@pytest.fixture
def loop() -> Loop:
    return Loop()


async def test_what_learns_well_serves(loop: Loop) -> None:
    for n in range(4):
        held = await loop.learn(world(n))
        assert held.course == pointer.Course()
        assert held.serving.held is None
    assert loop.counters["train.held"] == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
async def test_a_ruined_model_is_held_back_and_learning_goes_on_from_the_last_sound_one(
    loop: Loop, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    sound = (await loop.learn(world(0))).serving
    second = (await loop.learn(world(1))).serving
    bad = await loop.plant(second, spoiled(await registry.load(loop.blobs, LOOP, second), value))

    held = await loop.learn(world(2))

    assert held.serving == bad, "nothing better is known yet"
    assert held.course.held_back is not None
    assert held.course.held_back.held == "It has weights that are infinite or no numbers."
    assert held.course.held_back.base == bad.version
    assert (await registry.recorded(loop.blobs, LOOP, held.course.held_back.version)) == held.course.held_back
    assert (held.head.version, held.head.trained_through) == (sound.version, T0 + 3 * WINDOW)
    assert loop.counters["train.held"] == 1
    assert f"{held.course.held_back.version} is held back, {bad.version} goes on serving" in caplog.text
    assert loop.counters["train.versions"] == 3
    # What ruined it is passed over.
    after = await loop.learn(world(3))
    model = await registry.load(loop.blobs, LOOP, sound)
    assert await loop.model() == learned_by_hand(world(3), "", model)[0]
    assert (after.serving.base, after.serving.parent) == (sound.version, sound.version)
    assert (after.serving.learned_from, after.serving.events) == (T0 + 3 * WINDOW, 800)
    assert after.course == pointer.Course()


async def test_without_a_sound_one_before_it_learning_begins_anew_behind_what_ruined_it(loop: Loop) -> None:
    model = spoiled(learned_by_hand(world(0), QUICK_JOB.arguments)[0])
    bad = await loop.plant(Version("", "", QUICK_JOB.arguments, T0, 5, 0.5, 1.0, 1.0, QUICK_JOB.lineage), model)

    held = await loop.learn(world(1))
    assert held.serving == bad
    assert (held.head.sha256, held.head.trained_through) == ("", T0 + WINDOW)
    after = await loop.learn(world(2))

    assert await loop.model() == learned_by_hand(world(2), QUICK_JOB.arguments)[0]
    assert (after.serving.base, after.serving.parent, after.serving.events) == (None, None, 400)


async def test_a_loop_whose_first_model_is_ruined_serves_none(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vetter, "is_finite", lambda model: False)

    held = await loop.learn(world(0))

    assert held.serving.blank
    assert held.course.held_back is not None
    monkeypatch.undo()
    after = await loop.learn(world(1))
    assert await loop.model() == learned_by_hand(world(1), QUICK_JOB.arguments)[0]
    assert not after.serving.blank


async def test_a_rollback_lasts_and_what_learned_bad_data_is_held_back_until_it_is_mended(loop: Loop) -> None:
    good = (await loop.learn(*[world(n) for n in range(3)])).serving
    # The callers' rewards are inverted for a while. Nobody can tell that from a world that has changed.
    poisoned = await loop.learn(*[world(n, inverted=True) for n in range(3, 6)])
    assert poisoned.serving.held is None
    back = await pointer.change(loop.blobs, LOOP, lambda before: before.rolled_back(good, loop.now))
    assert back is not None

    held = await loop.learn(world(6))

    assert held.serving == good, "the next version does not undo it"
    assert held.head.parent == poisoned.serving.version
    assert held.course.held_back == held.head, "what has learned on from the bad data is far worse than the pinned one"
    assert str(held.head.held).startswith("As it learned the last 400 events it earned ")
    assert held.course.ready == poisoned.serving
    mended = held
    for n in range(7, 16):
        mended = await loop.learn(world(n))
    assert mended.head.held is None, "learning has gone on from it, and it knows better by now"
    unpinned = await pointer.change(loop.blobs, LOOP, lambda before: before.unpinned(loop.now))
    assert unpinned is not None
    assert unpinned.serving == mended.head


async def test_learning_goes_on_from_the_pinned_version_where_that_is_wanted(loop: Loop) -> None:
    good = (await loop.learn(*[world(n) for n in range(3)])).serving
    await loop.learn(*[world(n, inverted=True) for n in range(3, 6)])
    await pointer.change(loop.blobs, LOOP, lambda before: before.rolled_back(good, loop.now))
    await pointer.change(loop.blobs, LOOP, lambda before: before.unpinned_here(T0 + 6 * WINDOW, loop.now))

    after = await loop.learn(world(6))

    model = await registry.load(loop.blobs, LOOP, good)
    assert await loop.model() == learned_by_hand(world(6), "", model)[0]
    assert (after.serving.base, after.serving.learned_from) == (good.version, T0 + 6 * WINDOW)


async def test_a_new_policy_that_does_far_worse_is_held_back_and_learns_on(loop: Loop) -> None:
    for n in range(8):
        before = await loop.learn(world(n))

    held = await loop.learn(of=job(BLIND))

    assert held.serving == before.serving
    assert held.course.held_back is not None
    assert str(held.course.held_back.held).startswith("As it learned the last ")
    assert (held.head.lineage, held.head.base) == (job(BLIND).lineage, None)
    # It is not built anew each time.
    on = await loop.learn(world(8), of=job(BLIND))
    assert on.head.base == held.head.version
    assert on.serving == before.serving
    # And the policy before has its model from the log as ever.
    again = await loop.learn(of=QUICK_JOB)
    assert again.serving.held is None
    assert again.serving.lineage == QUICK_JOB.lineage


async def test_a_new_policy_that_does_about_as_well_serves(loop: Loop) -> None:
    for n in range(8):
        await loop.learn(world(n))

    after = await loop.learn(of=job(QUICK.replace("0.1", "0.08")))

    assert after.serving.lineage != QUICK_JOB.lineage
    assert after.course == pointer.Course()


async def test_the_same_exploration_is_assumed_of_both(loop: Loop) -> None:
    """Models of one lineage may have been made with another epsilon; both serve with the loop's."""
    greedy = job(QUICK.replace("0.2", "0.0"))
    for n in range(8):
        await loop.learn(world(n), of=greedy)

    after = await loop.learn(of=job(QUICK.replace("0.1", "0.08").replace("0.2", "0.5")))

    assert after.course == pointer.Course()


async def test_where_nothing_has_not_learned_the_events_nothing_is_said(loop: Loop) -> None:
    good = (await loop.learn(*[world(n) for n in range(3)])).serving

    after = await loop.learn(of=job(BLIND))

    assert good.parent is None, "there is no version before the events"
    assert after.serving.lineage == job(BLIND).lineage


async def test_what_to_compare_with_may_be_gone(loop: Loop) -> None:
    good = (await loop.learn(*[world(n) for n in range(3)])).serving
    await pointer.change(loop.blobs, LOOP, lambda before: before.pinned(loop.now))
    await loop.learn(world(3, inverted=True))
    await loop.blobs.delete(registry.model_path(LOOP, good.version))

    assert (await loop.learn(world(4))).head.held is None


async def test_an_older_model_that_vw_refuses_says_nothing(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    await loop.learn(*[world(n) for n in range(3)])

    class Refusing(Learner):
        def __init__(self, arguments: str, data: bytes | None, resuming: str = "") -> None:
            raise ModelError("no")

    monkeypatch.setattr(vetter, "Learner", Refusing)
    assert (await loop.learn(world(3))).serving.held is None


async def test_a_model_that_makes_no_distributions_is_held_back(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    class Undecided(ServingModel):
        def score(self, example: bytes) -> Scores:
            raise ModelError("no distribution")

    before = await loop.learn(world(0))
    monkeypatch.setattr(vetter, "ServingModel", Undecided)
    held = await loop.learn(world(1))

    assert held.serving == before.serving
    assert held.head.held == "It makes no distribution for 20 of the last 20 events."
    monkeypatch.undo()
    assert (await loop.learn(world(2))).serving.base == held.head.version


async def test_a_model_that_vw_does_not_load_is_held_back(loop: Loop) -> None:
    await loop.learn(world(0))
    read, _ = await pointer.read(loop.blobs, LOOP)
    judge = vetter.Vetter(loop.blobs, QUICK_JOB)
    assert read is not None

    verdict = await judge.judge(read.serving, b"no model", [], None)

    assert str(verdict.held).startswith("VW does not load it: ")
    assert not verdict.ruined


async def test_where_what_was_learned_has_been_deleted_since_nothing_is_said(loop: Loop) -> None:
    good = (await loop.learn(*[world(n) for n in range(3)])).serving
    judge = vetter.Vetter(MemoryBlobs(), QUICK_JOB)

    assert await judge.judge(good, await loop.model(), [0.0] * 400, good) == vetter.Verdict()


async def test_slots_are_asked_for_distributions_alone(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(2):
        assert (await loop.learn(slot_lines(n, 300, ONLINE), of=job(SLOTS))).serving.held is None
    asked = 0

    class Undecided(ServingModel):
        def score_slots(self, example: bytes) -> list[list[tuple[int, float]]]:
            nonlocal asked
            asked += 1
            raise ModelError("no distribution")

    monkeypatch.setattr(vetter, "ServingModel", Undecided)
    assert (await loop.learn(slot_lines(2, 30, ONLINE), of=job(SLOTS))).head.held is not None
    assert asked == 20


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(11))
async def test_holding_back_that_is_cut_off_anywhere_is_repeated(loop: Loop, at: int, after: bool) -> None:
    sound = (await loop.learn(world(0, 60))).serving
    second = (await loop.learn(world(1, 60))).serving
    bad = await loop.plant(second, spoiled(await registry.load(loop.blobs, LOOP, second)))
    await loop.log_lines(2, world(2, 60))
    calls = 0

    async def gate(name: str, done: bool) -> None:
        nonlocal calls
        calls += done is after
        if calls == at + 1 and done is after:
            raise Killed

    due = replace(QUICK_JOB, watermark=T0 + 3 * WINDOW, export_frequency=5.0)
    with pytest.raises(Killed):
        await Trainer(WatchedBlobs(loop.blobs, gate), loop.counters).run(due, 9000.0)
    assert await Trainer(loop.blobs, loop.counters).run(due, 9001.0) is None

    held = await loop.pointer()
    assert held.serving == bad
    assert (held.head.version, held.head.trained_through) == (sound.version, T0 + 3 * WINDOW)


async def test_the_last_windows_are_looked_for_from_the_last_day_on() -> None:
    blobs, listed = MemoryBlobs(), 0

    async def gate(name: str, done: bool) -> None:
        nonlocal listed
        listed += name == "names" and done

    starts = [T0, T0 + 3 * 86_400, T0 + 3 * 86_400 + WINDOW]
    for start in starts:
        await joined.write(blobs, LOOP, Window(start, start + WINDOW), "dsjson", world(start, 10))
    version = Version("", "", "", starts[-1] + WINDOW, 0, 0.0, 0.0, 0.0, learned_from=T0)
    judge = vetter.Vetter(WatchedBlobs(blobs, gate), QUICK_JOB)

    for count, found in ((10, starts[2:]), (20, starts[1:]), (21, starts), (1000, starts)):
        assert [window.start for window, _ in await judge._recent(version, count)] == found

    # A loop that was silent for decades costs a few lists, not one of each hour.
    listed, ancient = 0, msgspec.structs.replace(version, learned_from=0)
    assert [window.start for window, _ in await judge._recent(ancient, 1000)] == starts
    assert listed < 100


async def test_versions_of_another_lineage_or_held_back_are_nothing_to_compare_with() -> None:
    blobs = MemoryBlobs()
    judge = vetter.Vetter(blobs, QUICK_JOB)
    model = learned_by_hand(world(0, 10), QUICK_JOB.arguments)[0]
    serving = Version("", hashlib.sha256(model).hexdigest(), "", T0 + 300, 5, 0.5, 1.0, 1.0, QUICK_JOB.lineage)
    # Each is nearer to the bucket than the one before it.
    members: list[dict[str, object]] = [{}, {"lineage": "another"}, {"held": "bad"}]
    made = []
    for n, changes in enumerate(members):
        through = T0 + 60 * n
        name = registry.version_name(through, model)
        made.append(msgspec.structs.replace(serving, version=name, trained_through=through, **changes))
        await registry.store(blobs, LOOP, made[-1], model)

    assert await judge._yardstick(serving, T0 + 120) == (made[0], model)
    await blobs.delete(registry.record_path(LOOP, made[0].version))
    assert await judge._yardstick(serving, T0 + 120) == (None, None)


async def test_a_sound_version_is_looked_for_along_its_chain_past_what_is_gone_or_ruined() -> None:
    blobs = MemoryBlobs()
    judge = vetter.Vetter(blobs, QUICK_JOB)
    model = learned_by_hand(world(0), QUICK_JOB.arguments)[0]
    chain: list[Version] = []
    for n, data in enumerate((model, spoiled(model), b"thinned out")):
        through = T0 + 60 * n
        digest, base = hashlib.sha256(data).hexdigest(), chain[-1].version if chain else None
        name = registry.version_name(through, data)
        chain.append(Version(name, digest, "", through, 5, 0.5, 1.0, 1.0, base=base))
        await registry.store(blobs, LOOP, chain[-1], data)
    await blobs.delete(registry.model_path(LOOP, chain[2].version))

    assert await judge.sound(Version("", "", "", 0, 0, 0.0, 0.0, 0.0, base=chain[2].version)) == chain[0]
    await blobs.delete(registry.record_path(LOOP, chain[0].version))
    assert await judge.sound(Version("", "", "", 0, 0, 0.0, 0.0, 0.0, base=chain[2].version)) is None


async def test_a_sound_version_is_not_looked_for_without_end() -> None:
    blobs = MemoryBlobs()
    name = registry.version_name(T0, b"gone")
    turning = Version(name, "", "", T0, 5, 0.5, 1.0, 1.0, base=name)
    await registry.note(blobs, LOOP, turning)

    assert await vetter.Vetter(blobs, QUICK_JOB).sound(turning) is None
