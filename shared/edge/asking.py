"""Turns calls that ask for work on a stretch of the log into jobs that are begun: evaluations, feature importances."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from shared.app import App
from shared.contract.errors import ApiError
from shared.contract.evaluations import DateRange
from shared.edge.calls import Call
from shared.evaluation import field, resources
from shared.evaluation.resources import Evaluation, FeatureImportance, Job
from shared.log import activity
from shared.log.joined import Window
from shared.loops.settings import Loop
from shared.storage import Conflict

_NAMES: Final[dict[type[Job], tuple[str, str]]] = {
    Evaluation: ("an evaluation", "Evaluation"),
    FeatureImportance: ("a feature importance", "FeatureImportance"),
}


async def loop_for(app: App, call: Call, kind: type[Job], job_id: str) -> Loop:
    """The call's loop as it is now, since a policy may just have become it; there the id is to be new.

    Raises:
        ApiError: EvaluationAlreadyExists, FeatureImportanceAlreadyExists.
    """
    if await resources.get(app.blobs, call.loop.id, kind, job_id) is not None:
        raise _taken(kind)
    return await app.loops.by_id(call.loop.id)


async def windows_of(app: App, loop: Loop, dates: DateRange, since: int) -> dict[Window, int]:
    """What there is to look at between two times, with its sizes in bytes.

    Args:
        app: has the log.
        loop: the loop.
        dates: the two times.
        since: what the log held before is deleted.

    Raises:
        ApiError: NoLogsExistInDateRange, LogsSizeExceedAllowedLimit.
    """
    windows = await field.sizes(app.blobs, loop.id, dates, since)
    if not windows:
        raise ApiError("NoLogsExistInDateRange", "The log holds no event between startTime and endTime.", "startTime")
    if (size := sum(windows.values())) > field.MOST_BYTES:
        message = (
            f"The log holds {size:,} bytes between startTime and endTime, compressed; {field.MOST_BYTES:,} can be "
            "evaluated: choose a shorter time."
        )
        raise ApiError("LogsSizeExceedAllowedLimit", message, "startTime")
    return windows


async def begin(app: App, loop: Loop, kind: type[Job], begun: Awaitable[None]) -> None:
    """Have it begun, and see to it that somebody looks whether it goes on.

    Raises:
        ApiError: as `loop_for`: another call was quicker.
    """
    try:
        await begun
    except Conflict as e:
        raise _taken(kind) from e
    await activity.note_joined(app.tables, loop.id)  # wakes the train timer


def _taken(kind: type[Job]) -> ApiError:
    words, name = _NAMES[kind]
    message = f"There is {words} of this id already."
    return ApiError(f"{name}AlreadyExists", message, f"{name[0].lower()}{name[1:]}Id")
