"""Turns an event id into all that the log holds of it, the decision computed anew, and why it was taken (ADR 0020)."""

from __future__ import annotations

import msgspec

from shared.app import App
from shared.contract.errors import ApiError
from shared.contract.requests import check_event_id
from shared.contract.stories import Explanations, Story, ToldEvent, ToldExplanation, ToldReplay
from shared.edge.calls import Call, Reply, reply_json
from shared.learning import lineage
from shared.learning.rebuild import Gone
from shared.log.checkpoint import Checkpoint
from shared.log.entry import Entry
from shared.log.erasure import Erased
from shared.log.history import History, Ranking, Search
from shared.loops.settings import Loop
from shared.ranking.hindsight import explain
from shared.ranking.replay import replay
from shared.ranking.story import decider, tell

_AGAIN = 60
"""Seconds after which to ask again for an event that may be among too many pending ones."""


async def get_event(app: App, call: Call) -> Reply:
    """GET rankloop/v1/events/{eventId}."""
    history, checkpoint = await _found(app, call)
    told = [await _told(app, call.loop, history, ranking, checkpoint) for ranking in history.rankings]
    return reply_json(Story(call.id, told, history.missing))


async def get_explanation(app: App, call: Call) -> Reply:
    """GET rankloop/v1/events/{eventId}/explanation."""
    history, checkpoint = await _found(app, call)
    told = [await _explained(app, call.loop, ranking.entry, checkpoint) for ranking in history.rankings]
    return reply_json(Explanations(call.id, told, history.missing))


async def _found(app: App, call: Call) -> tuple[History, Checkpoint]:
    """All that the log holds of the event of a call: something, and how far the log is.

    Raises:
        ApiError: ResourceNotFound, or OperationNotAllowed where it may be among what cannot be looked at.
    """
    check_event_id(call.id, "InvalidRequest")
    await app.clock.ensure()
    history, checkpoint = await Search(app.tables, app.blobs, call.loop.id, call.id).run(app.clock.now())
    if not history.rankings and history.missing:
        raise ApiError("OperationNotAllowed", " ".join(history.missing), retry_after=_AGAIN)
    if not history.rankings:
        raise ApiError("ResourceNotFound", f"The log holds no event {call.id!r}.")
    return history, checkpoint


async def _explained(app: App, loop: Loop, entry: Entry, checkpoint: Checkpoint) -> ToldExplanation:
    told = ToldExplanation(entry.timestamp, decider(entry))
    try:
        told.actions = await explain(app.rebuilder, loop.id, entry, checkpoint.since, Erased(checkpoint.erasures))
    except Gone as e:
        told.cannot_explain = str(e)
    return told


async def _told(app: App, loop: Loop, history: History, ranking: Ranking, checkpoint: Checkpoint) -> ToldEvent:
    window, trained_into = ranking.window, None
    if window is not None:
        try:
            trained_into = await lineage.first_to_learn(app.blobs, loop.id, window, ranking.line)
        except lineage.TooFar as e:
            history.missing.append(f"Of {ranking.entry.timestamp}: {e}")
    try:
        again = await replay(app.rebuilder, loop.id, ranking.entry, checkpoint.since, Erased(checkpoint.erasures))
        replayed = ToldReplay(msgspec.Raw(again.answer), again.sha256, again.same)
    except Gone as e:
        replayed = ToldReplay(cannot_replay=str(e))
    return tell(history, ranking, loop.id, loop.waits, trained_into, replayed)
