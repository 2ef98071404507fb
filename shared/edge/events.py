"""Turns rank, reward and activate calls, single and multi-slot, into decisions and log lines (contract 5.1, 5.5)."""

from __future__ import annotations

from shared.app import App
from shared.contract.errors import ApiError
from shared.contract.requests import check_event_id, multi_slot_reward_request, reward_request
from shared.edge.calls import REQUEST_ID, Call, Reply
from shared.log.records import event_key
from shared.log.subject import HEADER
from shared.ranking.ranker import Answer


async def rank(app: App, call: Call) -> Reply:
    """POST rank: contract 1.4, 5.3."""
    if call.loop.multi_slot:
        message = "This loop's policy is multi-slot (--ccb_explore_adf): call multislot/rank."
        raise ApiError("InvalidApiAccess", message)
    return _ranked(await app.ranker.rank(call.loop, call.body, await _subject(app, call)))


async def rank_slots(app: App, call: Call) -> Reply:
    """POST multislot/rank: contract 1.4, 5.5."""
    _check_multi_slot(call)
    return _ranked(await app.ranker.rank_slots(call.loop, call.body, await _subject(app, call)))


async def reward(app: App, call: Call) -> Reply:
    """POST events/{eventId}/reward: contract 5.1."""
    event = _event(call, "InvalidRewardRequest")
    value = reward_request(call.body)
    await app.observer.observe(call.loop.id, call.loop.waits, event, "r", call.headers.get(REQUEST_ID), value)
    return Reply(204)


async def reward_slots(app: App, call: Call) -> Reply:
    """POST multislot/events/{eventId}/reward: contract 5.5."""
    _check_multi_slot(call)
    event = _event(call, "InvalidRewardRequest")
    slots = multi_slot_reward_request(call.body)
    request_id = call.headers.get(REQUEST_ID)
    await app.observer.observe(call.loop.id, call.loop.waits, event, "r", request_id, slots=slots)
    return Reply(204)


async def activate(app: App, call: Call) -> Reply:
    """POST events/{eventId}/activate: contract 5.1."""
    event = _event(call, "InvalidEventIdToActivate")
    await app.observer.observe(call.loop.id, call.loop.waits, event, "a", call.headers.get(REQUEST_ID))
    return Reply(204)


async def activate_slots(app: App, call: Call) -> Reply:
    """POST multislot/events/{eventId}/activate: all slots at once (contract 5.5)."""
    _check_multi_slot(call)
    return await activate(app, call)


async def _subject(app: App, call: Call) -> str | None:
    named = call.headers.get(HEADER)
    return None if named is None else await app.subjects.tag(call.loop.id, named)


def _ranked(answer: Answer) -> Reply:
    headers = {"csp-billing-usage": "CognitiveServices.Personalizer.Transaction=1"}  # contract 5.3
    if not answer.durable:
        headers["x-rankloop-log"] = "pending"
    return Reply(201, answer.body, headers)


def _event(call: Call, code: str) -> str:
    event_id = event_key(call.id)
    check_event_id(event_id, code)
    return event_id


def _check_multi_slot(call: Call) -> None:
    if not call.loop.multi_slot:
        message = "This loop's policy is single-slot: PUT one with --ccb_explore_adf to configurations/policy first."
        raise ApiError("InvalidMultiSlotApiAccess", message)
