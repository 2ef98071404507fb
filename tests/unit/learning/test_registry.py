import hashlib

import msgspec
import pytest

from shared.learning import pointer, registry
from shared.learning.pointer import Pointer
from shared.learning.registry import Version
from shared.storage import Blobs, Conflict, StorageError
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP, T0, WatchedBlobs

MODEL = b"the bytes of a model"


def version(model: bytes = MODEL, through: int = T0) -> Version:
    return Version(
        version=registry.version_name(through, model),
        sha256=hashlib.sha256(model).hexdigest(),
        arguments="--cb_explore_adf",
        trained_through=through,
        events=7,
        reward=0.5,
        created=T0 + 60.25,
        first_created=T0,
    )


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


async def test_before_the_first_model_there_is_none(blobs: MemoryBlobs) -> None:
    assert await registry.current(blobs, LOOP) == (None, None)


async def test_what_is_stored_and_pointed_at_serves(blobs: MemoryBlobs) -> None:
    await registry.store(blobs, LOOP, version(), MODEL)
    await pointer.move(blobs, LOOP, Pointer(version()), None)

    current, etag = await registry.current(blobs, LOOP)
    assert current == version()
    assert etag is not None
    assert await registry.load(blobs, LOOP, current) == MODEL


async def test_the_pointer_moves_from_the_state_that_was_seen_alone(blobs: MemoryBlobs) -> None:
    await pointer.move(blobs, LOOP, Pointer(version()), None)
    _, etag = await registry.current(blobs, LOOP)
    await pointer.move(blobs, LOOP, Pointer(version(through=T0 + 60)), etag)

    for stale in (None, etag):
        with pytest.raises(Conflict):
            await pointer.move(blobs, LOOP, Pointer(version(through=T0 + 120)), stale)
    assert (await registry.current(blobs, LOOP))[0] == version(through=T0 + 60)


async def test_a_version_may_stand_already(blobs: MemoryBlobs) -> None:
    await registry.store(blobs, LOOP, version(), MODEL)
    await registry.store(blobs, LOOP, version(), MODEL)

    assert await registry.load(blobs, LOOP, version()) == MODEL


@pytest.mark.parametrize("held", [MODEL[:-1], MODEL + b"x", b""])
async def test_a_damaged_model_is_refused(blobs: MemoryBlobs, held: bytes) -> None:
    await blobs.put(registry.model_path(LOOP, version().version), held)

    with pytest.raises(StorageError, match="damaged"):
        await registry.load(blobs, LOOP, version())
    with pytest.raises(StorageError, match="damaged"):
        await registry.store(blobs, LOOP, version(), MODEL)


async def test_a_model_that_is_gone_is_refused(blobs: MemoryBlobs) -> None:
    with pytest.raises(StorageError, match="gone"):
        await registry.load(blobs, LOOP, version())


async def test_a_pointer_of_a_later_release_is_refused(blobs: MemoryBlobs) -> None:
    later = msgspec.structs.replace(version(), format=2)
    await blobs.put(registry.pointer_path(LOOP), msgspec.json.encode(later))

    with pytest.raises(StorageError, match="format 2"):
        await registry.current(blobs, LOOP)


def test_a_pointer_of_the_first_release_is_read() -> None:
    """Rolling updates mix releases: this is what the first one wrote."""
    written = (
        b'{"version":"1700000040-0123456789abcdef","sha256":"ab","arguments":"--cb_explore_adf",'
        b'"trainedThrough":1700000040,"events":7,"reward":0.5,"created":1700000100.25,"firstCreated":1700000040.0,'
        b'"parent":"1700000000-fedcba9876543210"}'
    )
    assert registry.decode_pointer(written) == Version(
        version="1700000040-0123456789abcdef",
        sha256="ab",
        arguments="--cb_explore_adf",
        trained_through=T0,
        events=7,
        reward=0.5,
        created=T0 + 60.25,
        first_created=T0,
        parent="1700000000-fedcba9876543210",
    )


def test_versions_are_named_by_time_and_bytes() -> None:
    names = [registry.version_name(T0, b"1"), registry.version_name(T0 + 5, b"0"), registry.version_name(2**33, b"")]
    assert names == sorted(names)
    assert registry.version_name(T0, b"1") != registry.version_name(T0, b"2")


def test_properties_tell_when_the_first_and_the_serving_version_were_made() -> None:
    assert registry.properties(version()) == {
        "creationTime": "2023-11-14T22:14:00+00:00",
        "lastModifiedTime": "2023-11-14T22:15:00.250000+00:00",
    }
    assert set(registry.properties(None).values()) == {"0001-01-01T00:00:00+00:00"}


def test_a_loop_whose_model_was_deleted_has_no_properties() -> None:
    blank = Version("", "", "", T0, 0, 0.0, T0, T0, blank=True)

    assert set(registry.properties(blank).values()) == {"0001-01-01T00:00:00+00:00"}


def test_only_a_blank_version_says_that_it_is_blank() -> None:
    assert b"blank" not in msgspec.json.encode(version())
    assert registry.decode_pointer(b'{"version":"","sha256":"","arguments":"","trainedThrough":5,"events":0,"reward":0,'
                                   b'"created":1,"firstCreated":1,"blank":true}').blank  # fmt: skip


# -- models from outside, and no model at all ------------------------------------------------------------------------


async def installed(blobs: Blobs, model: bytes = b"another", now: float = T0 + 120.0) -> Version:
    return await pointer.install(blobs, LOOP, model, "--cb_explore_adf --epsilon 0.1", "a lineage", T0 + 60, now)


async def test_an_installed_model_serves_whatever_served_before(blobs: MemoryBlobs) -> None:
    await registry.store(blobs, LOOP, version(), MODEL)
    await pointer.move(blobs, LOOP, Pointer(version()), None)

    made = await installed(blobs)

    current, _ = await registry.current(blobs, LOOP)
    assert current == msgspec.structs.replace(made, parent=version().version)
    assert await registry.load(blobs, LOOP, current) == b"another"
    assert (current.arguments, current.lineage) == ("--cb_explore_adf --epsilon 0.1", "a lineage")
    assert (current.trained_through, current.events, current.reward, current.blank) == (T0 + 60, 0, 0.0, False)
    assert (current.first_created, current.created) == (T0 + 120, T0 + 120)
    assert await registry.load(blobs, LOOP, version()) == MODEL, "a version is never taken away"


async def test_a_model_may_be_installed_first_and_twice(blobs: MemoryBlobs) -> None:
    await installed(blobs)
    first, _ = await registry.current(blobs, LOOP)
    assert first is not None
    assert first.parent is None

    await installed(blobs, now=T0 + 180.0)

    current, _ = await registry.current(blobs, LOOP)
    assert current is not None
    assert (current.version, current.parent, current.created) == (first.version, first.version, T0 + 180)


async def test_a_reset_loop_has_no_model_and_learns_what_comes(blobs: MemoryBlobs) -> None:
    await registry.store(blobs, LOOP, version(), MODEL)
    await pointer.move(blobs, LOOP, Pointer(version()), None)

    for _ in range(2):
        await pointer.reset(blobs, LOOP, T0 + 60, T0 + 90.0)

    current, _ = await registry.current(blobs, LOOP)
    assert current is not None
    assert (current.blank, current.trained_through, current.events) == (True, T0 + 60, 0)
    assert current.parent == version().version, "the way back stays known"
    assert await registry.load(blobs, LOOP, version()) == MODEL


async def test_a_loop_without_a_model_can_be_reset(blobs: MemoryBlobs) -> None:
    for _ in range(2):
        await pointer.reset(blobs, LOOP, T0, T0 + 90.0)

    current, _ = await registry.current(blobs, LOOP)
    assert current is not None
    assert (current.blank, current.parent) == (True, None)


async def test_a_model_after_a_reset_has_no_parent(blobs: MemoryBlobs) -> None:
    await pointer.reset(blobs, LOOP, T0, T0 + 90.0)
    await installed(blobs)

    current, _ = await registry.current(blobs, LOOP)
    assert current is not None
    assert (current.blank, current.parent) == (False, None)


@pytest.mark.parametrize("what", ["install", "reset"])
async def test_a_version_that_a_trainer_published_meanwhile_is_succeeded_all_the_same(
    blobs: MemoryBlobs, what: str
) -> None:
    await pointer.move(blobs, LOOP, Pointer(version()), None)
    later, raced = version(through=T0 + 300), 0

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name == f"put {registry.pointer_path(LOOP)}" and not done and raced < 2:
            raced += 1
            _, etag = await registry.current(blobs, LOOP)
            await pointer.move(blobs, LOOP, Pointer(later), etag)

    watched = WatchedBlobs(blobs, gate)
    if what == "install":
        await installed(watched)
    else:
        await pointer.reset(watched, LOOP, T0 + 60, T0 + 90.0)

    current, _ = await registry.current(blobs, LOOP)
    assert current is not None
    assert raced == 2
    assert (current.blank, current.parent) == (what == "reset", later.version)


async def test_a_model_that_stands_damaged_under_the_same_name_is_not_pointed_at(blobs: MemoryBlobs) -> None:
    await blobs.put(registry.model_path(LOOP, registry.version_name(T0 + 60, b"another")), b"damaged")

    with pytest.raises(StorageError, match="damaged"):
        await installed(blobs)
    assert await registry.current(blobs, LOOP) == (None, None)


# -- records -----------------------------------------------------------------------------------------------------------


async def test_a_versions_record_is_written_with_its_bytes_and_never_changed(blobs: MemoryBlobs) -> None:
    await registry.store(blobs, LOOP, version(), MODEL)
    await registry.store(blobs, LOOP, msgspec.structs.replace(version(), created=5.0), MODEL)

    assert await registry.recorded(blobs, LOOP, version().version) == version()
    assert await registry.recorded(blobs, LOOP, "0000000000-0000000000000000") is None


async def test_versions_are_listed_in_order(blobs: MemoryBlobs) -> None:
    times = (T0 + 100_000, T0, T0 + 86_400, 5)
    for time in times:
        await registry.store(blobs, LOOP, version(b"%d" % time, time), b"%d" % time)
    await pointer.move(blobs, LOOP, Pointer(version(b"%d" % T0, T0)), None)
    await pointer.reset(blobs, LOOP, T0 + 200_000, T0 + 300_000.0)
    await blobs.put(registry.models_path(LOOP) + "odd/model.vw", b"")

    known = await registry.versions(blobs, LOOP)
    assert [one.trained_through for one in known] == [*sorted(times), T0 + 200_000]
    assert [one.blank for one in known] == [False] * 4 + [True]
    between = await registry.versions(blobs, LOOP, T0 + 1, T0 + 100_000)
    assert [one.trained_through for one in between] == [T0 + 86_400]
    assert await registry.listed(blobs, LOOP, T0 + 200_000) == {f"{T0 + 200_000}-blank": {registry.RECORD}}


async def test_an_imported_version_says_so(blobs: MemoryBlobs) -> None:
    await pointer.move(blobs, LOOP, Pointer(version()), None)

    made = await installed(blobs)

    recorded = await registry.recorded(blobs, LOOP, made.version)
    assert recorded is not None
    assert (recorded.imported, recorded.parent, recorded.base) == (True, version().version, None)
    assert await registry.recorded(blobs, LOOP, version().version) == version(), "it stood without a record"


async def test_a_damaged_record_is_refused(blobs: MemoryBlobs) -> None:
    await blobs.put(registry.record_path(LOOP, "v"), b"{")

    with pytest.raises(StorageError, match="damaged"):
        await registry.recorded(blobs, LOOP, "v")
