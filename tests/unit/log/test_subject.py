"""Names of subjects into tags that tell nothing without a loop's key."""

import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.errors import ApiError
from shared.log import subject
from shared.log.subject import HEADER, MAX_SUBJECT, Subjects, key_path
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP

OTHER = "f" * 32


async def test_a_tag_is_a_keyed_hash_that_all_instances_agree_on() -> None:
    blobs = MemoryBlobs()
    subjects = [Subjects(blobs) for _ in range(5)]

    tags = await asyncio.gather(*(one.tag(LOOP, "ann@example.org") for one in subjects))

    key = await blobs.get(key_path(LOOP))
    assert key is not None
    assert len(key.data) == 32
    assert set(tags) == {hashlib.blake2b(b"ann@example.org", key=key.data, digest_size=16).hexdigest()}
    assert await subjects[0].tag(LOOP, "ann@example.com") not in tags


async def test_tags_of_two_loops_have_nothing_in_common() -> None:
    subjects = Subjects(MemoryBlobs())

    assert await subjects.tag(LOOP, "ann") != await subjects.tag(OTHER, "ann")


async def test_a_key_that_another_instance_made_meanwhile_is_taken() -> None:
    class Slow(MemoryBlobs):
        async def get(self, path: str):  # type: ignore[no-untyped-def]
            held = await super().get(path)
            if held is None:
                await super().put(path, b"k" * 32)
            return held

    tag = await Subjects(Slow()).tag(LOOP, "ann")

    assert tag == hashlib.blake2b(b"ann", key=b"k" * 32, digest_size=16).hexdigest()


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 64])
async def test_a_damaged_key_is_told(key: bytes) -> None:
    blobs = MemoryBlobs()
    await blobs.put(key_path(LOOP), key)

    with pytest.raises(StorageError, match="damaged"):
        await Subjects(blobs).tag(LOOP, "ann")


@pytest.mark.parametrize("name", ["", "x" * (MAX_SUBJECT + 1), "Zoë", "a\nb", " ann", "ann ", "a\tb", "\ud800"])
async def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ApiError, match=HEADER) as caught:
        await Subjects(MemoryBlobs()).tag(LOOP, name)

    assert (caught.value.code, caught.value.target) == ("BadRequest", HEADER)


async def test_a_slash_is_the_same_however_it_arrives() -> None:
    subjects = Subjects(MemoryBlobs())

    assert len({await subjects.tag(LOOP, name) for name in ("a/b", "a%2Fb", "a%2fb")}) == 1
    assert await subjects.tag(LOOP, "a%20b") != await subjects.tag(LOOP, "a b")


@given(names=st.lists(st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True), unique=True, max_size=20))
async def test_tags_are_as_distinct_as_names(names: list[str]) -> None:
    subjects = Subjects(MemoryBlobs())
    distinct = {name.replace("%2F", "/").replace("%2f", "/") for name in names}

    assert len({await subjects.tag(LOOP, name) for name in names}) == len(distinct)


async def test_keys_of_many_loops_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_LOOPS", 2)
    subjects = Subjects(MemoryBlobs())

    first = [await subjects.tag(f"{n:032x}", "ann") for n in range(5)]

    assert [await subjects.tag(f"{n:032x}", "ann") for n in range(5)] == first
    assert len(subjects._keys) <= 2
