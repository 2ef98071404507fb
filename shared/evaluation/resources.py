"""Turns evaluations and feature importances into blobs that can be listed, and the blobs back into records.

One blob each, `loops/<id>/evaluations/<key>.json` or `loops/<id>/importances/<key>.json`; the key is a hash of the id
that a client gave, which may be any text.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar, TypeVar

import msgspec

from shared.contract.configurations import PolicyContract
from shared.contract.evaluations import EvaluationType, Status
from shared.contract.versions import Version
from shared.storage import Blobs, Conflict, documents

AT_ONCE = 16
"""Records that a list reads at a time."""
_NAME = re.compile(r"[0-9a-f]{64}\.json")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What evaluations and feature importances have in common.

    Attributes:
        id: the client's, or made by the service for v1.x; one loop has it once.
        name: the client's.
        start, end: the part of the log that it is about, in seconds since the epoch.
        created: when it was asked for, in seconds since the epoch.
        status: how far it is.
        api_version: by which it was asked for.
        description: what there is to say of its outcome, or None.
        content: its results as JSON, in the shape of whatever computed them; `null` while there are none.
        format: of this record.
    """

    folder: ClassVar[str]

    id: str
    name: str
    start: float
    end: float
    created: float
    status: Status
    api_version: Version
    description: str | None = None
    content: msgspec.Raw = msgspec.Raw(b"null")
    format: int = documents.FORMAT


class Evaluation(Job, frozen=True, kw_only=True):
    """An offline evaluation of learning policies.

    Attributes:
        evaluation_type: who asked for it.
        job_id: of the job that computes it, as v1.x shows it.
        policies: those that were given besides the loop's own.
        optimize: whether better policies are looked for.
        optimal_policy: the name of the best one, once it is known.
    """

    folder: ClassVar[str] = "evaluations"

    evaluation_type: EvaluationType = EvaluationType.MANUAL
    job_id: str
    policies: list[PolicyContract] = []
    optimize: bool = False
    optimal_policy: str | None = None


class FeatureImportance(Job, frozen=True, kw_only=True):
    """A ranking of the features by how much they matter.

    Attributes:
        job_id: of the job that computes it.
    """

    folder: ClassVar[str] = "importances"

    job_id: str = ""


J = TypeVar("J", bound=Job)


def _folder(loop_id: str, kind: type[Job]) -> str:
    return f"loops/{loop_id}/{kind.folder}/"


def path(loop_id: str, kind: type[Job], job_id: str) -> str:
    """The blob of a record; `job_id` may be any text."""
    # Even text that is no Unicode has a key, so that it is simply not found.
    key = hashlib.sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_folder(loop_id, kind)}{key}.json"


async def put(blobs: Blobs, loop_id: str, job: Job) -> None:
    """Store a new record.

    Raises:
        Conflict: the loop has one of this id already.
    """
    await blobs.put(path(loop_id, type(job), job.id), msgspec.json.encode(job))


async def get(blobs: Blobs, loop_id: str, kind: type[J], job_id: str) -> J | None:
    """The record of an id, or None where there is none.

    Raises:
        StorageError: it is damaged or of a later release, or storage does not answer.
    """
    return await _read(blobs, path(loop_id, kind, job_id), kind)


async def change(blobs: Blobs, loop_id: str, kind: type[J], job_id: str, changed: Callable[[J], J]) -> J | None:
    """Change a record, whoever else does; returns what it is then, or None where it is gone.

    Args:
        blobs: hold it.
        loop_id: the loop.
        kind: of record.
        job_id: its id.
        changed: gives the new one for the one that is held, perhaps more than once.
    """
    place = path(loop_id, kind, job_id)
    while True:
        blob = await blobs.get(place)
        if blob is None:
            return None
        held = documents.decode(blob.data, kind, place)
        if (wanted := changed(held)) == held:
            return held
        with suppress(Conflict):  # somebody else was quicker: change what they have left
            await blobs.put(place, msgspec.json.encode(wanted), blob.etag)
            return wanted


async def delete(blobs: Blobs, loop_id: str, kind: type[Job], job_id: str) -> bool:
    """Delete a record; returns whether there was one."""
    place = path(loop_id, kind, job_id)
    if await blobs.get(place) is None:
        return False
    await blobs.delete(place)
    return True


async def newest_first(blobs: Blobs, loop_id: str, kind: type[J]) -> list[J]:
    """All records of a kind, in an order that depends on nothing but them.

    Raises:
        StorageError: one is damaged or of a later release, or storage does not answer.
    """
    folder, slots = _folder(loop_id, kind), asyncio.Semaphore(AT_ONCE)

    async def read(place: str) -> J | None:
        async with slots:
            return await _read(blobs, place, kind)

    places = [place for place in await blobs.names(folder) if _NAME.fullmatch(place, len(folder))]
    # What is deleted meanwhile is read as None.
    jobs = [job for job in await asyncio.gather(*map(read, places)) if job is not None]
    return sorted(jobs, key=lambda job: (-job.created, job.id))


async def _read(blobs: Blobs, place: str, kind: type[J]) -> J | None:
    blob = await blobs.get(place)
    return None if blob is None else documents.decode(blob.data, kind, place)
