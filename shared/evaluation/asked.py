"""Turns a feature importance that is asked for into a blob, as long as it is computed, and into the task of that.

`loops/<id>/weighing/<job>.json`, moved by compare-and-swap: what it is about, by the settings of the moment when it was
asked for, and how often it was sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from shared import jobs
from shared.contract.evaluations import DateRange
from shared.evaluation import field
from shared.evaluation.importance import Task
from shared.evaluation.plan import Plan
from shared.evaluation.resources import Evaluation, FeatureImportance
from shared.learning.excerpt import Excerpt, Stretch
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.join import Rules
from shared.log.joined import DSJSON, Window
from shared.loops import policy
from shared.loops.settings import Loop
from shared.storage import Blobs, documents

MOST_BYTES: Final = 24 * 1024 * 1024
"""Compressed bytes of the log that are looked at, some 100,000 events; of more, windows that are evenly spread."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be computed.

    Attributes:
        job: the id of its job.
        importance: the feature importance's id.
        created: in seconds since the epoch.
        start, end: the part of the log, in seconds since the epoch.
        mode, multi_slot, rules: which events, and how they are labelled; see `Excerpt`.
        training, resuming, serving: what VW is told; see `Task`.
        sent: when it was last sent, in seconds since the epoch; 0 for never.
        sendings: how many times it was.
        format: of this record.
    """

    job: str
    importance: str
    created: float
    start: float
    end: float
    mode: str
    multi_slot: bool
    rules: Rules
    training: str
    resuming: str
    serving: str
    sent: float = 0.0
    sendings: int = 0
    format: int = documents.FORMAT


def of(loop: Loop, importance: FeatureImportance) -> Asked:
    """What a feature importance takes, by the settings of a loop."""
    held = loop.configuration
    return Asked(
        job=importance.job_id,
        importance=importance.id,
        created=importance.created,
        start=importance.start,
        end=importance.end,
        mode=held.learning_mode,
        multi_slot=loop.multi_slot,
        rules=Rules(held.reward_wait_time, held.default_reward, held.reward_aggregation, held.reward_range),
        training=loop.learned.training,
        resuming=loop.learned.resuming,
        serving=loop.policy.serving(0.0),  # what is learned shows best where nothing is explored
    )


def of_evaluation(evaluation: Evaluation, plan: Plan) -> Asked:
    """What the features of an evaluation take: those of the policy that decided."""
    learned = policy.read(plan.online).within(plan.rules.reward_range)
    return Asked(
        job=plan.job,
        importance="",
        created=plan.created,
        start=evaluation.start,
        end=evaluation.end,
        mode=plan.mode,
        multi_slot=plan.multi_slot,
        rules=plan.rules,
        training=learned.training,
        resuming=learned.resuming,
        serving=learned.serving(0.0),
    )


def job_id(loop_id: str, importance_id: str, now: float) -> str:
    """The id of the job of a feature importance."""
    return jobs.new_id(now, f"importance {loop_id} {importance_id}")


async def gather(blobs: Blobs, loop_id: str, plan: Asked) -> bytes:
    """The message of what is to be computed, see `importance.weigh`.

    Raises:
        StorageError: a window is gone, or storage does not answer.
    """
    checkpoint, _ = await checkpoints.load(blobs, loop_id)
    held = thinned(await field.sizes(blobs, loop_id, DateRange(plan.start, plan.end), checkpoint.since))
    stretches = [Stretch(window.start, await joined.fetch(blobs, loop_id, window, DSJSON)) for window in held]
    excerpt = Excerpt(plan.multi_slot, plan.mode, plan.rules, checkpoint.erasures, stretches)
    # By its job: computed twice it is the same.
    seed = int.from_bytes(hashlib.sha256(plan.job.encode()).digest()[:8])
    return msgspec.msgpack.encode(Task(excerpt, plan.training, plan.resuming, plan.serving, seed))


def thinned(held: Mapping[Window, int], most: int = MOST_BYTES) -> list[Window]:
    """Windows that hold so many bytes at most, one at least, evenly spread over all of them."""
    step = max(1, -(-sum(held.values()) // most))
    return list(held)[::step]


def _path(loop_id: str, job: str = "") -> str:
    return f"loops/{loop_id}/weighing/" + (f"{job}.json" if job else "")


async def unfinished(blobs: Blobs, loop_id: str) -> list[str]:
    """The jobs of those that are not done, the oldest first."""
    names = [path.removeprefix(_path(loop_id)).removesuffix(".json") for path in await blobs.names(_path(loop_id))]
    return sorted(filter(jobs.ID.fullmatch, names))


async def load(blobs: Blobs, loop_id: str, job: str) -> tuple[Asked | None, str | None]:
    """What was asked for by a job, and its ETag; (None, None) where it is over.

    Raises:
        StorageError: it is damaged or of a later release, or storage does not answer.
    """
    blob = await blobs.get(_path(loop_id, job))
    return (None, None) if blob is None else (documents.decode(blob.data, Asked, _path(loop_id, job)), blob.etag)


async def save(blobs: Blobs, loop_id: str, plan: Asked, etag: str | None) -> None:
    """Store it in place of the one that `etag` names, or a new one.

    Raises:
        Conflict: somebody else was quicker.
    """
    await blobs.put(_path(loop_id, plan.job), msgspec.json.encode(plan), etag)


async def forget(blobs: Blobs, loop_id: str, job: str) -> None:
    """Take it away: it is over."""
    await blobs.delete(_path(loop_id, job))
