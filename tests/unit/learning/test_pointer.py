"""The moves of the pointer: what serves, what is pinned, and what learning goes on from."""

from __future__ import annotations

import msgspec
import pytest

from shared.learning import pointer, registry
from shared.learning.pointer import Course, Pointer, behind, nothing
from shared.learning.registry import Version
from shared.storage import Conflict
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP, WatchedBlobs


def version(n: int, held: str | None = None) -> Version:
    """The nth version of a loop that makes one a minute."""
    parent = f"{60 * (n - 1):010d}-{n - 1:016x}"
    return Version(
        f"{60 * n:010d}-{n:016x}", f"{n:064x}", "", 60 * n, n, 0.0, 60.0 * n + 5, 5.0, parent=parent, held=held
    )


A, B, C, D = (version(n) for n in range(1, 5))


def test_what_is_trained_serves() -> None:
    assert Pointer(A).trained(B, 0.0) == Pointer(B)
    assert Pointer(A).head is A


def test_a_rollback_is_not_undone_by_what_is_trained_later() -> None:
    rolled = Pointer(B).rolled_back(A, 200.0)

    assert (rolled.serving, rolled.course.pinned, rolled.head) == (A, True, B)
    trained = rolled.trained(C, 0.0).trained(D, 0.0)
    assert (trained.serving, trained.head, trained.course.ready) == (A, D, D)
    assert trained.needed == {A.version, D.version}


def test_unpinned_the_newest_version_serves_that_was_not_held_back() -> None:
    bad = version(4, "bad")
    pinned = Pointer(B).rolled_back(A, 200.0).trained(C, 0.0).held_back(bad, bad)

    unpinned = pinned.unpinned(300.0)

    assert (unpinned.serving, unpinned.course.pinned, unpinned.head) == (C, False, bad)
    assert unpinned.course.held_back is bad
    assert unpinned.course.again == {A.version: 300.0}
    assert unpinned.unpinned(400.0) is unpinned
    good = version(5)
    assert unpinned.trained(good, 0.0) == Pointer(good, Course(again={A.version: 300.0}))


def test_unpinned_at_once_what_was_rolled_back_from_serves_again() -> None:
    assert Pointer(B).rolled_back(A, 200.0).unpinned(201.0) == Pointer(B, Course(again={A.version: 201.0}))


def test_a_rollback_from_a_rollback_keeps_what_is_newest() -> None:
    twice = Pointer(C).rolled_back(B, 200.0).rolled_back(A, 300.0)

    assert (twice.serving, twice.head, twice.course.ready) == (A, C, C)
    assert twice.course.again == {A.version: 300.0, B.version: 300.0}
    forward = twice.rolled_back(C, 400.0)
    assert (forward.serving, forward.course.head, forward.course.ready) == (C, None, None)
    assert forward.course.again == {A.version: 400.0, B.version: 300.0, C.version: 400.0}


def test_a_pin_keeps_what_serves() -> None:
    pinned = Pointer(A).pinned(100.0)

    assert pinned.pinned(200.0) is pinned
    assert pinned.trained(B, 0.0).serving is A
    assert pinned.trained(B, 0.0).unpinned(300.0) == Pointer(B, Course(again={A.version: 300.0}))


def test_learning_can_go_on_from_the_pinned_version_past_what_spoiled_the_others() -> None:
    here = Pointer(C).rolled_back(A, 200.0).unpinned_here(600, 601.0)

    assert (here.serving, here.course.pinned, here.course.ready) == (A, False, None)
    assert (here.head.version, here.head.sha256, here.head.trained_through) == (A.version, A.sha256, 600)
    assert here.unpinned_here(700, 701.0) is here
    # It served for longer than the record of the version behind it tells.
    late = msgspec.structs.replace(D, created=900.0)
    assert here.trained(late, 0.0) == Pointer(late, Course(again={A.version: 900.0}))


def test_versions_that_served_again_are_kept_as_long_as_the_log() -> None:
    served = Pointer(B).rolled_back(A, 200.0).unpinned(300.0)

    assert served.trained(C, 300.0).needed == {A.version, C.version}
    assert served.trained(C, 301.0).needed == {C.version}
    pinned = Pointer(B).rolled_back(A, 200.0).trained(C, 1000.0)
    assert pinned.unpinned(2000.0).course.again == {A.version: 2000.0}, "it served until then, though long since then"


def test_a_held_back_version_learns_on_unless_it_is_ruined() -> None:
    bad = version(3, "bad")

    assert Pointer(B).held_back(bad, behind(bad, bad)) == Pointer(B, Course(head=bad, held_back=bad))
    ruined = Pointer(B).held_back(bad, behind(B, bad))
    assert ruined.head == msgspec.structs.replace(B, trained_through=bad.trained_through, created=bad.created)
    anew = Pointer(B).held_back(bad, behind(None, bad)).head
    assert (anew.version, anew.sha256, anew.trained_through, anew.lineage) == ("", "", 180, bad.lineage)
    assert Pointer(B).held_back(bad, bad).trained(D, 0.0) == Pointer(D)
    assert nothing(bad).serving.blank


def test_a_model_from_outside_takes_the_pin_over_and_a_deleted_one_ends_it() -> None:
    pinned = Pointer(B).rolled_back(A, 200.0)

    imported = pinned.succeeded(C, 300.0)
    assert (imported.serving, imported.course.pinned, imported.head) == (C, True, C)
    blank = msgspec.structs.replace(D, blank=True, sha256="")
    deleted = pinned.succeeded(blank, 300.0)
    assert (deleted.serving, deleted.course.pinned, deleted.head) == (blank, False, blank)
    assert Pointer(blank).rolled_back(A, 400.0).unpinned(500.0).serving is A, "what was deleted does not come back"


async def test_an_instance_of_an_earlier_release_serves_the_same() -> None:
    blobs = MemoryBlobs()
    spoiled = msgspec.structs.replace(A, held="bad")
    pinned = Pointer(B).rolled_back(spoiled, 200.0).held_back(C, D)

    await pointer.move(blobs, LOOP, pinned, None)

    read, etag = await pointer.read(blobs, LOOP)
    assert read == pinned
    assert await registry.current(blobs, LOOP) == (spoiled, etag)  # as that release reads it
    blob = await blobs.get(registry.pointer_path(LOOP))
    assert blob is not None
    assert msgspec.json.decode(blob.data)["version"] == A.version


def test_no_member_of_the_course_is_taken_for_one_of_the_version() -> None:
    assert not set(Course.__struct_encode_fields__) & set(Version.__struct_encode_fields__)


async def test_a_pointer_of_an_earlier_release_points_at_the_serving_version_alone() -> None:
    blobs = MemoryBlobs()
    assert await pointer.read(blobs, LOOP) == (None, None)
    await blobs.put(registry.pointer_path(LOOP), msgspec.json.encode(A))

    assert (await pointer.read(blobs, LOOP))[0] == Pointer(A)


@pytest.mark.parametrize("races", [0, 2])
async def test_a_change_holds_whatever_the_trainer_publishes_meanwhile(races: int) -> None:
    blobs = MemoryBlobs()
    assert await pointer.change(blobs, LOOP, lambda before: before.pinned(1.0)) is None
    await pointer.move(blobs, LOOP, Pointer(A), None)
    versions = [B, C]
    raced = 0

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name.startswith("put ") and not done and raced < races:
            raced += 1
            read, etag = await pointer.read(blobs, LOOP)
            assert read is not None
            await pointer.move(blobs, LOOP, read.trained(versions[raced - 1], 0.0), etag)

    changed = await pointer.change(WatchedBlobs(blobs, gate), LOOP, lambda before: before.rolled_back(A, 9.0))

    assert changed == (await pointer.read(blobs, LOOP))[0]
    assert changed is not None
    assert (changed.serving, changed.course.pinned) == (A, True)
    assert changed.head == [A, B, C][races]


async def test_what_changes_nothing_writes_nothing() -> None:
    blobs = MemoryBlobs()
    await pointer.move(blobs, LOOP, Pointer(A), None)
    _, etag = await pointer.read(blobs, LOOP)

    assert await pointer.change(blobs, LOOP, lambda before: before.unpinned(1.0)) == Pointer(A)
    assert (await pointer.read(blobs, LOOP))[1] == etag
    with pytest.raises(Conflict):
        await pointer.move(blobs, LOOP, Pointer(B), None)


def test_an_import_that_is_sent_again_is_left_out_no_more_by_what_learning_goes_on_from() -> None:
    serving, head = (msgspec.structs.replace(one, left_out=("a", "b")) for one in (A, B))
    rolled = Pointer(head).rolled_back(serving, 200.0)

    wanting = rolled.wanting("a")

    assert (wanting.serving.left_out, wanting.head.left_out) == (("b",), ("b",))
    assert (wanting.head.version, wanting.course.pinned) == (B.version, True)
    assert Pointer(A).wanting("a") == Pointer(A), "of a release that did not note it"
