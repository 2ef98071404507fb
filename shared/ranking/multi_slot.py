"""Turns a multi-slot rank call into a decision for each of its slots (contract 5.5).

Slots are decided in their order, and an action that one took is not for later ones; so VW draws, slot by slot, with
a seed of its own for each. A slot can end up without an action: it is answered by its id alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson

from shared.contract.errors import ApiError
from shared.contract.requests import MultiSlotRankRequest, SlotRequest
from shared.log.records import LOGGING_ONLY, ONLINE
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.budget import check_budget
from shared.ranking.decision import NO_TRIAL, Decision, Trial, check_distinct, new_event_id, number, odd_ids, trial_of
from shared.ranking.features import Context, example, sanitise_context
from shared.ranking.model_cache import Held
from shared.ranking.sampling import draw, uniform_hash

Drawn = list[tuple[int, float]]
"""A slot's actions by index with their probabilities, the drawn one first; empty where none was left."""
_encode = msgspec.json.Encoder().encode


def decide_slots(
    request: MultiSlotRankRequest, plain: bool, loop: Loop, held: Held, cache: ActionCache, subject: str | None = None
) -> Decision:
    """Decide a multi-slot rank call; see `rank.decide`.

    Raises:
        ApiError: BadRequest or InvalidRankRequest, as the features and rules of contract 4.3 demand.
        ModelError: VW refuses the sanitised example, which no known document does.
    """
    actions = [cache.get(bytes(raw), n, plain) for n, raw in enumerate(request.actions)]
    check_distinct(actions)
    slots = request.slots
    index = {action.id: n for n, action in enumerate(actions)}
    allowed = [_allowed(slot, f"slots[{n}]", index) for n, slot in enumerate(slots)]
    baselines = [index[slot.baseline_action] for slot in slots]
    context = sanitise_context(bytes(request.context_features), plain)
    features = [sanitise_context(bytes(s.features), plain, f"slots[{n}].features") for n, s in enumerate(slots)]
    initials = check_budget(context, actions, held.policy or loop.policy, features, held.met)
    held.meet(initials)
    event_id = request.event_id or new_event_id(loop.id)
    seeds = [(event_id + slot.id).replace("\0", "_") for slot in slots]
    built = example(context, actions, elements(slots, seeds, allowed, features, len(actions)))
    ids = [action.id_json for action in actions]
    odd = b"" if plain else odd_ids(ids)
    names = [slot.id for slot in slots]
    mode, trial = loop.configuration.learning_mode, trial_of(loop, event_id, subject)
    return resolve_slots(event_id, mode, held, built, ids, names, seeds, allowed, baselines, odd, trial)


def resolve_slots(
    event_id: str,
    mode: str,
    held: Held,
    built: bytes,
    ids: Sequence[bytes],
    slots: Sequence[str],
    seeds: Sequence[str],
    allowed: Sequence[Sequence[int]],
    baselines: Sequence[int],
    odd: bytes = b"",
    trial: Trial = NO_TRIAL,
) -> Decision:
    """Decide what was sanitised; see `rank.resolve`.

    Args:
        event_id: of the event.
        mode: the learning mode.
        held: the model.
        built: the example, with the slots.
        ids: of the actions, as JSON.
        slots: the slots' ids.
        seeds: of the slots.
        allowed: the actions that each slot admits, ascending.
        baselines: of the slots, by index.
        odd: see `decision.odd_ids`.
        trial: that it is part of.

    Raises:
        ModelError: as `decide_slots`.
    """
    if trial.held:
        held, drawn = held.without_model(), draw_baselines(baselines, allowed)
    elif mode == LOGGING_ONLY:
        drawn = draw_baselines(baselines, allowed)
    elif held.model:
        drawn = held.model.score_slots(built)
    else:
        drawn = draw_uniformly(seeds, allowed)
    shown = [choice[0][0] if choice else None for choice in drawn] if mode == ONLINE else baselines
    event_json = orjson.dumps(event_id)
    return Decision(
        event_id,
        event_json,
        _body(slots, shown, ids, event_json),
        _choice(slots, drawn, baselines, [b'""' if action is None else ids[action] for action in shown]),
        mode,
        b'{"Version":"1","EventId":%b,"c":%b,"VWState":{"m":"%b"},"epsilon":%.9g,"_ba":%b%b%b}'
        % (event_json, built, held.name, held.exploration, _encode(baselines), odd, trial.logged),
        sum(not choice for choice in drawn),
        trial.member,
    )


def draw_uniformly(seeds: Sequence[str], allowed: Sequence[Sequence[int]]) -> list[Drawn]:
    """What VW would draw with all actions equal: for a loop without a model (contract 5.3, point 7).

    Args:
        seeds: of the slots, in their order.
        allowed: the actions that each slot admits, ascending.
    """
    taken: set[int] = set()
    drawn: list[Drawn] = []
    for seed, among in zip(seeds, allowed, strict=True):
        left = [action for action in among if action not in taken]
        if left:
            chosen = draw(uniform_hash(seed), [1.0] * len(left))
            left[0], left[chosen] = left[chosen], left[0]
            taken.add(left[0])
        drawn.append([(action, 1.0 / len(left)) for action in left])
    return drawn


def draw_baselines(baselines: Sequence[int], allowed: Sequence[Sequence[int]]) -> list[Drawn]:
    """Each slot's baseline for certain, the other actions it admits behind."""
    drawn, taken = [], set[int]()
    for baseline, among in zip(baselines, allowed, strict=True):
        others = [(action, 0.0) for action in among if action != baseline and action not in taken]
        drawn.append([(baseline, 1.0), *others])
        taken.add(baseline)
    return drawn


def _allowed(slot: SlotRequest, where: str, index: dict[str, int]) -> list[int]:
    """The actions that a slot admits, ascending (contract 4.3)."""
    excluded = set(slot.excluded_actions or ())
    for action in slot.excluded_actions or ():
        if action not in index:
            raise _unknown(f"{where}.excludedActions", action)
    if slot.baseline_action not in index:
        raise _unknown(f"{where}.baselineAction", slot.baseline_action)
    if slot.baseline_action in excluded:
        message = f"{where}.baselineAction must not be one of the slot's excludedActions."
        raise ApiError("InvalidRankRequest", message, f"{where}.baselineAction")
    return [n for action, n in index.items() if action not in excluded]


def _unknown(where: str, action: str) -> ApiError:
    return ApiError("InvalidRankRequest", f"{where} must name actions of the request; {action[:64]!r} is none.", where)


def elements(
    slots: Sequence[SlotRequest],
    seeds: Sequence[str],
    allowed: Sequence[Sequence[int]],
    features: Sequence[Context],
    count: int,
) -> list[bytes]:
    """The elements of `_slots` in the example (contract 6); the tag makes VW's draw repeatable.

    Args:
        slots: as they were asked for.
        seeds: of their draws.
        allowed: the actions that each admits, ascending.
        features: of each, sanitised.
        count: of the actions.
    """
    return [
        b'{"_id":%b,"_tag":%b,%b"sj":%b}'
        % (
            _encode(slot.id.replace("\0", "_")),
            _encode(f"seed={seed}"),
            b"" if len(among) == count else b'"_inc":%b,' % _encode(among),
            own.example,
        )
        for slot, seed, among, own in zip(slots, seeds, allowed, features, strict=True)
    ]


def _body(slots: Sequence[str], shown: Sequence[int | None], ids: Sequence[bytes], event_id: bytes) -> bytes:
    """The MultiSlotRankResponse, members in the order the service wrote them (contract 1.4)."""
    entries = [
        b'{"id":%b%b}' % (_encode(slot), b"" if action is None else b',"rewardActionId":' + ids[action])
        for slot, action in zip(slots, shown, strict=True)
    ]
    return b'{"slots":[%b],"eventId":%b}' % (b",".join(entries), event_id)


def _choice(slots: Sequence[str], drawn: Sequence[Drawn], baselines: Sequence[int], shown: Sequence[bytes]) -> bytes:
    """The member `s` of the journal line; see `records.RankedSlot`."""
    entries = [
        b"[%b,[%b],[%b],%d,%b]"
        % (
            _encode(slot),
            b",".join([b"%d" % action for action, _ in choice]),
            b",".join([number(probability) for _, probability in choice]),
            baseline,
            action,
        )
        for slot, choice, baseline, action in zip(slots, drawn, baselines, shown, strict=True)
    ]
    return b'"s":[%b]' % b",".join(entries)
