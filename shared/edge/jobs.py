"""Turns calls that ask for jobs into what is known of them, and the wish that one end into its end."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta

from shared import jobs
from shared.app import App
from shared.contract import instants
from shared.contract.errors import ApiError
from shared.contract.evaluations import Status
from shared.edge import paging
from shared.edge.calls import Call, Reply, reply_json
from shared.evaluation import evaluator, importances
from shared.jobs import Record
from shared.log import activity

_INSTANT = {"format": "date-time"}
_Left = str | msgspec.UnsetType


class JobContract(msgspec.Struct, rename="camel", kw_only=True):
    """Long work on a loop. What is not known, or not yet, is left out."""

    id: str
    kind: Annotated[
        str,
        Meta(description="What is done: retrain is a new model, evaluate an evaluation, importance weighs features."),
    ]
    cause: Annotated[str, Meta(description="Why: the settings that changed, from what to what; or what was asked for.")]
    status: Status
    created: Annotated[str, Meta(extra_json_schema=_INSTANT)]
    started: Annotated[_Left, Meta(extra_json_schema=_INSTANT)] = msgspec.UNSET
    ended: Annotated[_Left, Meta(extra_json_schema=_INSTANT)] = msgspec.UNSET
    pieces: Annotated[int, Meta(description="Into how many it is cut.")]
    pieces_done: int
    events: Annotated[int, Meta(description="That were learned or looked at so far.")]
    events_estimated: Annotated[
        int | msgspec.UnsetType, Meta(description="How many that will be in all, once a piece is done.")
    ] = msgspec.UNSET
    version: Annotated[_Left, Meta(description="The model version that came of it.")] = msgspec.UNSET
    outcome: Annotated[_Left, Meta(description="What came of it, where that is not plain.")] = msgspec.UNSET
    error: Annotated[_Left, Meta(description="What went wrong at last, though it may be tried again.")] = msgspec.UNSET


class JobList(msgspec.Struct, rename="camel"):
    """Jobs of a loop, the newest first."""

    value: Annotated[list[JobContract], Meta(max_length=paging.MAX_SIZE)]
    next_link: Annotated[_Left, Meta(description="The address of the next page.")] = msgspec.UNSET


async def list_jobs(app: App, call: Call) -> Reply:
    """GET rankloop/v1/jobs."""
    page = paging.read(call.query)
    shown, following = page.of(await jobs.newest(app.blobs, call.loop.id))
    records = await asyncio.gather(*(jobs.get(app.blobs, call.loop.id, job_id) for job_id in shown))
    link = following.link(call.url, call.query) if following else msgspec.UNSET
    return reply_json(JobList([_shown(record) for record in records if record is not None], link))


async def get_job(app: App, call: Call) -> Reply:
    """GET rankloop/v1/jobs/{jobId}."""
    return reply_json(_shown(await jobs.get(app.blobs, call.loop.id, call.id) or _unknown(call)))


async def cancel_job(app: App, call: Call) -> Reply:
    """DELETE rankloop/v1/jobs/{jobId}."""
    held = await jobs.get(app.blobs, call.loop.id, call.id) or _unknown(call)
    now = await app.clock.read()

    def canceled(record: Record) -> Record:
        return record.end(Status.CANCELED, now, outcome="It was canceled by a call.")

    ended = await jobs.change(app.blobs, call.loop.id, held.id, canceled) or _unknown(call)
    if ended.status is not Status.CANCELED:
        raise ApiError("InvalidRequest", f"The job has come to an end: it is {ended.status.value}.", "jobId")
    await activity.note_joined(app.tables, call.loop.id)  # wakes the train timer, which learns on at once
    if ended.kind == evaluator.KIND:
        await app.evaluator.settle(call.loop.id, ended)  # so does that timer, but a minute later
    if ended.kind == importances.KIND:
        await app.importances.settle(call.loop.id, ended)  # the same
    return reply_json(_shown(ended))


def _unknown(call: Call) -> Record:
    raise ApiError("ResourceNotFound", f"There is no job with the id {call.id[:64]!r}.")


def _shown(record: Record) -> JobContract:
    def instant(time: float | None) -> _Left:
        return msgspec.UNSET if time is None else instants.spell(time)

    return JobContract(
        id=record.id,
        kind=record.kind,
        cause=record.cause,
        status=record.status,
        created=instants.spell(record.created),
        started=instant(record.started),
        ended=instant(record.ended),
        pieces=record.pieces,
        pieces_done=record.done,
        events=record.events,
        events_estimated=msgspec.UNSET if record.estimated is None else record.estimated,
        version=record.version or msgspec.UNSET,
        outcome=record.outcome or msgspec.UNSET,
        error=record.error or msgspec.UNSET,
    )
