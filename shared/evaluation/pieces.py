"""Turns plans, what came of their pieces and who went on from their rounds into blobs, and these back.

`loops/<id>/evaluating/<job>/plan.json`, moved by compare-and-swap; beside it `<group>.<shard>` and `round.<n>`, which
are immutable: whoever makes one makes the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from shared.evaluation.plan import Piece, Plan, State
from shared.evaluation.scoring import Scored
from shared.storage import Blobs, Conflict, StorageError, documents

_PIECE = re.compile(r"(\d+)\.(\d+)", re.ASCII)
_PLAN = "plan.json"


def folder(loop_id: str, job_id: str = "") -> str:
    """Where the evaluations of a loop lie while they are made, or one of them."""
    return f"loops/{loop_id}/evaluating/" + (f"{job_id}/" if job_id else "")


async def unfinished(blobs: Blobs, loop_id: str) -> list[str]:
    """The jobs of which something lies there, the oldest first."""
    return [path.removeprefix(folder(loop_id)).rstrip("/") for path in await blobs.folders(folder(loop_id))]


async def load(blobs: Blobs, loop_id: str, job_id: str) -> tuple[Plan | None, str | None]:
    """The plan of a job and its ETag; (None, None) where there is none any more.

    Raises:
        StorageError: it is damaged or of a later release, or storage does not answer.
    """
    path = folder(loop_id, job_id) + _PLAN
    blob = await blobs.get(path)
    return (None, None) if blob is None else (documents.decode(blob.data, Plan, path), blob.etag)


async def save(blobs: Blobs, loop_id: str, plan: Plan, etag: str | None) -> None:
    """Store a plan in place of the one that `etag` names, or a new one.

    Raises:
        Conflict: somebody else was quicker.
    """
    await blobs.put(folder(loop_id, plan.job) + _PLAN, msgspec.json.encode(plan), etag)


async def state(blobs: Blobs, loop_id: str, plan: Plan) -> State:
    """How far a plan is."""
    root = folder(loop_id, plan.job)
    names = [path.removeprefix(root) for path in await blobs.names(root)]
    stand = {Piece(int(match[1]), int(match[2])) for name in names if (match := _PIECE.fullmatch(name))}
    fields: list[list[str]] = []
    while f"round.{len(fields)}" in names:
        blob = await blobs.get(f"{root}round.{len(fields)}")
        if blob is None:
            raise StorageError(f"{root}round.{len(fields)} is gone")
        fields.append(msgspec.json.decode(blob.data, type=list[str]))
    return State(plan, stand, fields)


async def keep(blobs: Blobs, loop_id: str, plan: Plan, piece: Piece, scored: bytes) -> None:
    """Store what came of a piece, unless that stands already."""
    with suppress(Conflict):
        await blobs.put(_path(loop_id, plan, piece), scored)


async def keep_field(blobs: Blobs, loop_id: str, plan: Plan, number: int, names: Sequence[str]) -> None:
    """Store who goes on from a round, unless that stands already."""
    with suppress(Conflict):
        await blobs.put(f"{folder(loop_id, plan.job)}round.{number}", msgspec.json.encode(list(names)))


async def read(blobs: Blobs, loop_id: str, plan: Plan, piece: Piece) -> Scored:
    """What came of a piece.

    Raises:
        StorageError: it does not stand, or is damaged; or storage does not answer.
    """
    path = _path(loop_id, plan, piece)
    blob = await blobs.get(path)
    if blob is None:
        raise StorageError(f"{path} is gone")
    try:
        return msgspec.msgpack.decode(blob.data, type=Scored)
    except msgspec.MsgspecError as e:
        raise StorageError(f"{path} is damaged: {e}") from e


async def clear(blobs: Blobs, loop_id: str, job_id: str) -> None:
    """Delete all of a job's, its plan last: as long as that is there, somebody looks."""
    root = folder(loop_id, job_id)
    paths = await blobs.names(root)
    for path in sorted(paths, key=lambda path: path == root + _PLAN):
        await blobs.delete(path)


def _path(loop_id: str, plan: Plan, piece: Piece) -> str:
    return f"{folder(loop_id, plan.job)}{piece.group}.{piece.shard}"
