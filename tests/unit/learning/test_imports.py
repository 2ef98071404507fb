"""What a loop was given of the past is learned before its log: by its first model, and by each that is made anew."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from shared import jobs
from shared.contract.evaluations import Status
from shared.counters import Counters
from shared.learning import pieces, pointer, registry, renewal, thinning
from shared.learning.lesson import Job
from shared.learning.rebuild import Gone, Rebuilder
from shared.learning.registry import Version
from shared.learning.shaping import Shaping, cause
from shared.learning.trainer import Trainer
from shared.log import imports
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import NOTHING
from shared.log.imports import Import
from shared.log.joined import pack
from shared.log.records import ONLINE
from tests.journalled import LOOP, T0
from tests.unit.learning.test_trainer import JOB, RULES, WINDOW, Bench, learned_by_hand, lines

NAME, OTHER = imports.name_of(1.0, lines(100)), imports.name_of(2.0, lines(200))
SHAPING = Shaping(RULES, 0.2, ONLINE, 0)


def with_imports(*names: str, windows: int = 2) -> Job:
    shaping = msgspec.structs.replace(SHAPING, imports=names)
    return replace(JOB, shaping=shaping, watermark=T0 + windows * WINDOW, export_frequency=5.0)


class Given(Bench):
    """A log, and what was imported."""

    async def give(self, name: str, *windows: int) -> None:
        packed = [pack(lines(n)) for n in windows]
        await imports.write(self.blobs, LOOP, Import(name, "a file", 1.0, 0.0, 0.0, 20 * len(windows)), packed)

    async def learn(self, of: Job, now: float = 1000.0) -> float | None:
        return await Trainer(self.blobs, self.counters).run(of, now)

    async def records(self) -> list[jobs.Record]:
        found = [await jobs.get(self.blobs, LOOP, job_id) for job_id in await jobs.newest(self.blobs, LOOP)]
        return [record for record in found if record is not None]


@pytest.fixture
async def given() -> Given:
    held = Given()
    await held.give(NAME, 100, 101)
    return held


async def test_a_loop_without_a_log_learns_what_it_was_given(given: Given) -> None:
    assert await given.learn(with_imports(NAME, windows=0)) is None

    assert await given.model() == learned_by_hand([*lines(100), *lines(101)])[0]
    version = await given.version()
    assert (version.events, version.parent, version.base) == (40, None, None)
    assert version.shaping is not None
    assert version.shaping.imports == (NAME,)
    assert [record.status for record in await given.records()] == [Status.SUCCEEDED]


async def test_the_log_is_learned_behind_it_and_learned_on(given: Given) -> None:
    await given.log(0, 1)
    await given.learn(with_imports(NAME))
    await given.log(2)
    await given.learn(with_imports(NAME, windows=3), now=2000.0)

    everything = [line for n in (100, 101, 0, 1, 2) for line in lines(n)]
    assert await given.model() == learned_by_hand(everything)[0]
    assert len(await given.records()) == 1


async def test_an_import_makes_a_new_model_and_so_does_its_end(given: Given) -> None:
    await given.log(0, 1)
    await given.learn(with_imports())
    await given.give(OTHER, 200)
    await given.learn(with_imports(NAME, OTHER), now=2000.0)
    assert await given.model() == learned_by_hand([line for n in (100, 101, 200, 0, 1) for line in lines(n)])[0]

    await given.learn(with_imports(OTHER), now=3000.0)

    assert await given.model() == learned_by_hand([line for n in (200, 0, 1) for line in lines(n)])[0]
    newest, first = await given.records()
    assert first.cause == f"imports changed from none to {NAME}, {OTHER}"
    assert newest.cause == f"imports changed from {NAME}, {OTHER} to {OTHER}"


async def test_parts_are_cut_into_pieces_that_go_on_from_each_other(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "PIECE_BYTES", 1)
    await given.log(0, 1)
    wanted = replace(with_imports(NAME), merges=False)

    async def here(task: bytes) -> bytes:
        return pieces.learn_task(task)

    trainer = Trainer(given.blobs, given.counters, apart=here)
    for n in range(6):
        await trainer.run(wanted, 1000.0 + n)

    assert await given.model() == learned_by_hand([line for n in (100, 101, 0, 1) for line in lines(n)])[0]
    assert [(record.pieces, record.events) for record in await given.records()] == [(4, 80)]


async def test_a_model_that_was_deleted_stays_deleted(given: Given) -> None:
    await given.learn(with_imports(NAME))
    await pointer.reset(given.blobs, LOOP, T0, 1500.0)

    await given.learn(with_imports(NAME, windows=0), now=2000.0)

    assert (await given.version()).blank


async def test_a_version_that_learned_an_import_is_not_thinned_and_not_rebuilt(given: Given) -> None:
    await given.log(0)
    await given.learn(with_imports(NAME, windows=1))
    version = await given.version()

    def thinned(one: Version) -> bool:
        return thinning.expendable([one], one, float(one.learned_from or 0), Checkpoint(), lambda _: True)

    assert not thinned(version)
    assert thinned(msgspec.structs.replace(version, shaping=SHAPING))
    await given.blobs.delete(registry.model_path(LOOP, version.version))
    with pytest.raises(Gone, match="had learned imports"):
        await Rebuilder(given.blobs, Counters()).model(LOOP, version.version, 0, NOTHING)


def test_a_batch_has_so_many_bytes_or_one_part() -> None:
    sizes = {("a", 0): 3, ("a", 1): 3, ("b", 0): 9, ("b", 1): 1}

    assert imports.batches(sizes, 6) == [([("a", 0), ("a", 1)], 6), ([("b", 0)], 9), ([("b", 1)], 1)]
    assert imports.batches({}, 6) == []


def test_what_has_changed_is_told() -> None:
    after = msgspec.structs.replace(SHAPING, imports=(NAME,))

    assert cause(SHAPING, after, "p", "p") == f"imports changed from none to {NAME}"


# -- after a model from outside, and after none ----------------------------------------------------------------------


async def imported_model(given: Given, *names: str) -> bytes:
    """A model from outside, which serves; the loop has some imports then."""
    elsewhere = learned_by_hand(lines(50))[0]
    await pointer.install(given.blobs, LOOP, elsewhere, JOB.arguments, JOB.lineage, T0, 900.0, names)
    return elsewhere


async def test_an_import_is_learned_on_top_of_an_imported_model(given: Given) -> None:
    elsewhere = await imported_model(given)

    assert await given.learn(with_imports(NAME, windows=0)) is None

    assert await given.model() == learned_by_hand([*lines(100), *lines(101)], "", elsewhere)[0]
    version = await given.version()
    assert version.base == version.origin == registry.version_name(T0, elsewhere)
    assert version.learned_imports
    assert [record.cause for record in await given.records()] == [f"imports changed from none to {NAME}"]
    await given.log(0)
    await given.learn(with_imports(NAME, windows=1), now=2000.0)
    everything = [line for n in (100, 101, 0) for line in lines(n)]
    assert await given.model() == learned_by_hand(everything, "", elsewhere)[0]
    assert not (await given.version()).learned_imports, "its base had"


async def test_an_imported_model_takes_the_place_of_imports_before_it_and_not_of_later_ones(given: Given) -> None:
    elsewhere = await imported_model(given, NAME)
    await given.log(0)
    await given.learn(with_imports(NAME, windows=1))
    version = await given.version()
    assert await given.model() == learned_by_hand(lines(0), "", elsewhere)[0]
    assert (version.shaping, version.left_out) == (SHAPING, (NAME,))

    await given.give(OTHER, 200)
    await given.learn(with_imports(NAME, OTHER, windows=1), now=2000.0)

    version = await given.version()
    assert await given.model() == learned_by_hand([*lines(200), *lines(0)], "", elsewhere)[0]
    assert version.shaping == with_imports(OTHER).shaping
    assert version.left_out == (NAME,)
    await given.learn(with_imports(NAME, OTHER, windows=1), now=3000.0)
    assert len(await given.records()) == 1


async def test_after_a_deleted_model_later_imports_are_learned_and_the_log_behind_it(given: Given) -> None:
    await given.log(0, 1)
    await given.learn(with_imports(NAME))
    await pointer.reset(given.blobs, LOOP, T0 + 2 * WINDOW, 1500.0, (NAME,))
    await given.learn(with_imports(NAME), now=1600.0)
    assert (await given.version()).blank

    await given.give(OTHER, 200)
    await given.learn(with_imports(NAME, OTHER), now=2000.0)

    assert await given.model() == learned_by_hand(lines(200))[0]
    await given.log(2)
    await given.learn(with_imports(NAME, OTHER, windows=3), now=3000.0)
    version = await given.version()
    assert await given.model() == learned_by_hand([*lines(200), *lines(2)])[0]
    assert version.shaping == with_imports(OTHER).shaping
    assert version.left_out == (NAME,)
    assert (await given.records())[0].cause == f"imports changed from none to {OTHER}"


async def test_what_is_learned_after_a_deleted_model_does_not_claim_the_imports_before(given: Given) -> None:
    await pointer.reset(given.blobs, LOOP, T0, 900.0, (NAME,))
    await given.log(0)
    await given.learn(with_imports(NAME, windows=1))

    version = await given.version()
    assert await given.model() == learned_by_hand(lines(0))[0]
    assert (version.shaping, version.left_out) == (SHAPING, (NAME,))
    assert await given.records() == []


async def test_a_new_model_of_the_whole_log_learns_imports_from_before_a_deleted_model_too(given: Given) -> None:
    await pointer.reset(given.blobs, LOOP, T0, 900.0, (NAME,))
    await given.log(0)
    await given.learn(with_imports(NAME, windows=1))
    wanted = with_imports(NAME, windows=1)
    assert wanted.shaping is not None
    changed = replace(wanted, shaping=msgspec.structs.replace(wanted.shaping, exploration=0.5))

    for now in (2000.0, 3000.0):
        await given.learn(changed, now)

    version = await given.version()
    assert await given.model() == learned_by_hand([line for n in (100, 101, 0) for line in lines(n)])[0]
    assert (version.shaping, version.left_out) == (changed.shaping, ())
    assert len(await given.records()) == 1


@pytest.mark.parametrize("deleted", [True, False])
async def test_versions_of_a_release_that_did_not_note_imports_are_gone_on_from(given: Given, deleted: bool) -> None:
    elsewhere: bytes | None = None
    if deleted:
        await pointer.reset(given.blobs, LOOP, T0, 900.0)
    else:
        elsewhere = learned_by_hand(lines(50))[0]
        await pointer.install(given.blobs, LOOP, elsewhere, JOB.arguments, JOB.lineage, T0, 900.0)
    await given.learn(with_imports(NAME, windows=0))
    assert await given.records() == []
    await given.log(0)
    await given.learn(with_imports(NAME, windows=1), now=2000.0)
    assert await given.model() == learned_by_hand(lines(0), "" if elsewhere else JOB.arguments, elsewhere)[0]
    assert (await given.version()).left_out == (NAME,)

    await given.give(OTHER, 200)
    await given.learn(with_imports(NAME, OTHER, windows=1), now=3000.0)

    shaping = (await given.version()).shaping
    assert shaping is not None
    assert shaping.imports == ((NAME, OTHER) if deleted else (OTHER,))


async def test_a_canceled_import_is_not_said_to_be_learned(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "PIECE_BYTES", 1)
    await given.log(0)
    await given.learn(with_imports(windows=1))
    await given.learn(with_imports(NAME, windows=1), now=2000.0)
    (record,) = await given.records()
    assert record.running
    await jobs.change(given.blobs, LOOP, record.id, lambda held: held.end(Status.CANCELED, 2500.0))
    await given.log(1)

    for now in (3000.0, 4000.0):
        await given.learn(with_imports(NAME), now)

    version = await given.version()
    assert await given.model() == learned_by_hand([*lines(0), *lines(1)])[0]
    assert (version.shaping, version.left_out) == (SHAPING, (NAME,))
    assert len(await given.records()) == 1, "it is not begun again"


def test_behind_a_ruined_version_what_it_alone_had_learned_of_imports_is_left_out() -> None:
    ruined = registry.Version("n", "s", "", T0, 0, 0.0, 1.0, 1.0, shaping=with_imports(NAME, OTHER).shaping)
    sound = msgspec.structs.replace(ruined, version="m", shaping=with_imports(NAME).shaping)

    goes_on, anew = pointer.behind(sound, ruined), pointer.behind(None, ruined)

    assert (goes_on.shaping, goes_on.left_out) == (with_imports(NAME).shaping, (OTHER,))
    assert (anew.shaping, anew.left_out) == (SHAPING, tuple(sorted((NAME, OTHER))))
    assert pointer.behind(ruined, ruined) == ruined
