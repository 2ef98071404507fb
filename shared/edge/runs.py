"""Turns the wish that a loop be joined or trained now into a run of what its timer does, and how far that has come."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta

from shared.app import App
from shared.contract import instants
from shared.edge.calls import Call, Reply, reply_json
from shared.learning import pointer as pointers
from shared.log import activity
from shared.log import checkpoint as checkpoints

PATIENCE = 20.0
"""Seconds after which a call is answered, and the run goes on: callers and proxies wait for half a minute or so."""
_INSTANT = {"format": "date-time"}
_Left = str | msgspec.UnsetType


def _time(text: str) -> Meta:
    return Meta(description=text, extra_json_schema=_INSTANT)


class JoinRun(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """How far a loop's join is."""

    done: Annotated[bool, Meta(description="Whether all is joined that could be; if not, it goes on by itself.")]
    joined_through: Annotated[_Left, _time("All before it is joined; left out before the first time.")] = UNSET
    pending_since: Annotated[_Left, _time("When the oldest that is not joined arrived, or up to a minute earlier; "
                                          "left out where nothing is pending.")] = UNSET  # fmt: skip
    due_at: Annotated[_Left, _time("When the next of it can be joined: its reward wait is over then.")] = UNSET


class TrainRun(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """How far a loop's training is."""

    done: Annotated[bool, Meta(description="Whether the run has come to its end; if not, it goes on by itself.")]
    joined_through: Annotated[_Left, _time("What there is to learn arrived before.")] = UNSET
    learned_through: Annotated[_Left, _time("All before it is learned; left out before the first model.")] = UNSET
    model_version: Annotated[_Left, Meta(description="The version that serves, if any.")] = UNSET
    due_at: Annotated[_Left, _time("When the timer looks again: modelExportFrequency says how often a version is made. "
                                   "Left out where all is learned that is joined.")] = UNSET  # fmt: skip


async def join(app: App, call: Call) -> Reply:
    """POST rankloop/v1/join: join what is closed, as the join timer does."""
    loop_id = call.loop.id
    done = await app.runs.wait("join", loop_id, lambda: app.joining.run_loop(loop_id), PATIENCE)
    held, _ = await checkpoints.load(app.blobs, loop_id)
    spans = (await activity.noted(app.tables)).get(loop_id, [])
    return reply_json(
        JoinRun(
            done=done,
            joined_through=_told(held.watermark),
            pending_since=_told(max(spans[0].start, held.watermark)) if spans else UNSET,
            due_at=_told(min(span.due for span in spans)) if spans else UNSET,
        )
    )


async def train(app: App, call: Call) -> Reply:
    """POST rankloop/v1/train: learn what is joined, as the train timer does."""
    loop_id = call.loop.id
    done = await app.runs.wait("train", loop_id, lambda: app.training.run_one(loop_id), PATIENCE)
    held, _ = await checkpoints.load(app.blobs, loop_id)
    pointer, _ = await pointers.read(app.blobs, loop_id)
    serving = pointer.serving if pointer else None
    learned = pointer.head.trained_through if pointer else 0
    # A note of a loop that has learned all is of what the timer does besides.
    notes = await activity.untrained(app.tables) if learned < held.watermark else []
    after = [note.after for note in notes if note.loop_id == loop_id]
    return reply_json(
        TrainRun(
            done=done,
            joined_through=_told(held.watermark),
            learned_through=_told(learned),
            model_version=serving.version if serving and not serving.blank else UNSET,
            due_at=_told(max(after[0], app.clock.now())) if after else UNSET,
        )
    )


def _told(time: float) -> _Left:
    return instants.spell(time) if time else UNSET
