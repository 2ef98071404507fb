"""Records into blobs and back: whatever the client's id, whatever happens to a blob meanwhile."""

from __future__ import annotations

import random
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.configurations import PolicyContract
from shared.contract.evaluations import EvaluationType, Status
from shared.contract.versions import Version
from shared.evaluation import resources
from shared.evaluation.resources import Evaluation, FeatureImportance, Job
from shared.storage import Blob, Conflict, StorageError
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP

OTHER_LOOP = "f" * 32


def evaluation(job_id: str, created: float = 3.5) -> Evaluation:
    return Evaluation(
        id=job_id,
        name="week",
        start=1.0,
        end=2.25,
        created=created,
        status=Status.SUCCEEDED,
        api_version=Version.V1_1_P3,
        description="done",
        content=msgspec.Raw(b'{"later":[1, 2]}'),
        evaluation_type=EvaluationType.AUTO,
        job_id="job",
        policies=[PolicyContract("mine", "--cb_explore_adf")],
        optimize=True,
        optimal_policy="mine",
    )


def importance(job_id: str, created: float = 3.5) -> FeatureImportance:
    return FeatureImportance(
        id=job_id, name="", start=0.0, end=1.0, created=created, status=Status.RUNNING, api_version=Version.V2022
    )


@pytest.mark.parametrize("job", [evaluation("a"), importance("a")])
async def test_what_is_stored_is_read(job: Job) -> None:
    blobs = MemoryBlobs()
    await resources.put(blobs, LOOP, job)

    assert await resources.get(blobs, LOOP, type(job), "a") == job
    assert await resources.newest_first(blobs, LOOP, type(job)) == [job]


async def test_an_id_is_in_use_once_in_each_loop_and_for_each_kind() -> None:
    blobs = MemoryBlobs()
    await resources.put(blobs, LOOP, evaluation("a"))
    await resources.put(blobs, LOOP, importance("a"))
    await resources.put(blobs, OTHER_LOOP, evaluation("a"))

    with pytest.raises(Conflict):
        await resources.put(blobs, LOOP, evaluation("a", 9.0))
    held = await resources.get(blobs, LOOP, Evaluation, "a")
    assert held is not None
    assert held.created == 3.5


@given(st.text(st.characters(), max_size=300))
def test_any_text_is_a_path_of_its_own(job_id: str) -> None:
    assert re.fullmatch(rf"loops/{LOOP}/evaluations/[0-9a-f]{{64}}\.json", resources.path(LOOP, Evaluation, job_id))
    assert resources.path(LOOP, Evaluation, job_id) != resources.path(LOOP, Evaluation, job_id + "/")


def test_the_kinds_lie_in_different_folders() -> None:
    assert resources.path(LOOP, FeatureImportance, "../../a").startswith(f"loops/{LOOP}/importances/")


async def test_a_record_is_deleted_once() -> None:
    blobs = MemoryBlobs()
    await resources.put(blobs, LOOP, evaluation("a"))
    await resources.put(blobs, LOOP, evaluation("b"))

    assert await resources.delete(blobs, LOOP, Evaluation, "a")
    assert not await resources.delete(blobs, LOOP, Evaluation, "a")
    assert await resources.get(blobs, LOOP, Evaluation, "a") is None
    assert [job.id for job in await resources.newest_first(blobs, LOOP, Evaluation)] == ["b"]


async def test_the_newest_come_first_whatever_order_they_were_stored_in() -> None:
    blobs = MemoryBlobs()
    jobs = [importance(f"{n:03d}", created=n // 3) for n in range(100)]
    random.Random(1).shuffle(jobs)
    for job in jobs:
        await resources.put(blobs, LOOP, job)

    found = await resources.newest_first(blobs, LOOP, FeatureImportance)

    assert [job.id for job in found] == [f"{n:03d}" for n in sorted(range(100), key=lambda n: (-(n // 3), n))]


async def test_what_else_lies_in_the_folder_is_not_listed() -> None:
    blobs = MemoryBlobs()
    await resources.put(blobs, LOOP, evaluation("a"))
    place = resources.path(LOOP, Evaluation, "a")
    for beside in (place.replace(".json", "/results.json"), f"{place}.bak"):
        await blobs.put(beside, b"no record")

    assert [job.id for job in await resources.newest_first(blobs, LOOP, Evaluation)] == ["a"]
    assert await resources.newest_first(blobs, OTHER_LOOP, Evaluation) == []


async def test_what_is_deleted_while_a_list_is_read_is_left_out() -> None:
    class Racing(MemoryBlobs):
        async def get(self, path: str) -> Blob | None:
            await self.delete(resources.path(LOOP, Evaluation, "gone"))
            return await super().get(path)

    blobs = Racing()
    for name in ("gone", "kept"):
        await resources.put(blobs, LOOP, evaluation(name))

    assert [job.id for job in await resources.newest_first(blobs, LOOP, Evaluation)] == ["kept"]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format": 2}', msgspec.json.encode({**{"id": "a"}, "status": "New"})])
async def test_a_damaged_record_or_one_of_a_later_release_is_told(data: bytes) -> None:
    blobs = MemoryBlobs()
    place = resources.path(LOOP, Evaluation, "a")
    await blobs.put(place, data)

    with pytest.raises(StorageError, match=place):
        await resources.get(blobs, LOOP, Evaluation, "a")
    with pytest.raises(StorageError, match=place):
        await resources.newest_first(blobs, LOOP, Evaluation)


async def test_a_record_says_of_which_format_it_is() -> None:
    blobs = MemoryBlobs()
    await resources.put(blobs, LOOP, evaluation("a"))

    blob = await blobs.get(resources.path(LOOP, Evaluation, "a"))
    assert blob is not None
    assert msgspec.json.decode(blob.data)["format"] == 1
