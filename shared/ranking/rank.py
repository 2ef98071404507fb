"""Turns a rank call into a decision (contract 5.3, 5.4).

Sanitise, exclude, score, draw, swap: a pure function of the request, the loop and its model. All from the score on is
a function of what the log keeps of the call, too, so that a decision can be taken again (`shared.ranking.replay`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from shared.contract.errors import ApiError
from shared.contract.requests import MOST_ACTIONS, RankRequest
from shared.learning.model import Scores
from shared.log.records import LOGGING_ONLY, ONLINE
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.budget import check_budget
from shared.ranking.decision import NO_TRIAL, Decision, Trial, check_distinct, new_event_id, number, odd_ids, trial_of
from shared.ranking.explained import NOT_EXPLAINED, explained
from shared.ranking.explore import Choice, choose, first, in_request_order
from shared.ranking.features import example, sanitise_context
from shared.ranking.model_cache import Held
from shared.ranking.sampling import seed


def decide(
    request: RankRequest, plain: bool, loop: Loop, held: Held, cache: ActionCache, subject: str | None = None
) -> Decision:
    """Decide a rank call.

    Args:
        request: the checked request.
        plain: what `features.is_plain` says of its body.
        loop: the loop; its id is part of the draw's seed.
        held: the loop's model.
        cache: of sanitised actions.
        subject: the tag of the event's subject, or None.

    Raises:
        ApiError: BadRequest or InvalidRankRequest, as the features and rules of contract 4.3 demand.
        ModelError: VW refuses the sanitised example, which no known document does.
    """
    actions = [cache.get(bytes(raw), n, plain) for n, raw in enumerate(request.actions)]
    check_distinct(actions)
    excluded_ids = set(request.excluded_actions or ())  # a caller may send very many
    excluded = [n for n, a in enumerate(actions) if a.id in excluded_ids] if excluded_ids else []
    rankable = [n for n, a in enumerate(actions) if a.id not in excluded_ids] if excluded else range(len(actions))
    if not rankable:
        message = "excludedActions leaves no action to choose: at least one must remain."
        raise ApiError("InvalidRankRequest", message, "excludedActions")
    ranked = [actions[n] for n in rankable] if excluded else actions
    context = sanitise_context(bytes(request.context_features), plain)
    initials = check_budget(context, ranked, held.policy or loop.policy, met=held.met)
    held.meet(initials)
    built = example(context, ranked)
    event_id = request.event_id or new_event_id(loop.id)
    ids = [action.id_json for action in actions]
    odd = b"" if plain else odd_ids([ids[n] for n in rankable])
    mode, trial = loop.configuration.learning_mode, trial_of(loop, event_id, subject)

    def explanation(answered: int) -> bytes:
        """Of the action that is answered: none where no model was asked (contract 5.4; ADR 0027)."""
        if held.model is None or trial.held or mode == LOGGING_ONLY:
            return NOT_EXPLAINED
        return explained(held.model, context, actions[answered])

    explain = explanation if loop.configuration.is_inference_explainability_enabled else None
    return resolve(event_id, loop.id, mode, held, built, ids, rankable, excluded, odd, trial, explain)


def resolve(
    event_id: str,
    loop_id: str,
    mode: str,
    held: Held,
    built: bytes,
    ids: Sequence[bytes],
    rankable: Sequence[int],
    excluded: Sequence[int],
    odd: bytes = b"",
    trial: Trial = NO_TRIAL,
    explain: Callable[[int], bytes] | None = None,
) -> Decision:
    """Decide what was sanitised.

    Args:
        event_id: of the event.
        loop_id: the loop's; it is part of the draw's seed.
        mode: the learning mode.
        held: the model.
        built: the example, of the rankable actions in the order of the request.
        ids: of all actions of the request, as JSON.
        rankable: those that may be chosen, by index, ascending.
        excluded: all others, ascending.
        odd: see `decision.odd_ids`.
        trial: that it is part of.
        explain: makes a member of the answer, behind a comma, of the action that the answer names, by its index; what
            is logged stays the same, since it holds all that the explanation can be made of again.

    Raises:
        ModelError: as `decide`.
    """
    count = len(rankable)
    if trial.held:
        held, drawn, best = held.without_model(), first(count), 0
    elif mode == LOGGING_ONLY:
        drawn, best = first(count), 0
    else:  # a loop without a model explores uniformly (contract 5.3, point 7)
        scores = held.model.score(built) if held.model else Scores([1.0 / count] * count, list(range(count)))
        drawn, best = choose(scores.distribution, scores.order, seed(event_id, loop_id)), scores.order[0]
    shown = drawn if mode == ONLINE else in_request_order(drawn)
    event_json = orjson.dumps(event_id)
    more = explain(rankable[shown.order[0]]) if explain else b""
    probabilities = [number(p) for p in drawn.probabilities]
    order = [rankable[n] for n in shown.order] if excluded else shown.order
    return Decision(
        event_id,
        event_json,
        _body(
            ids,
            order,
            probabilities if shown is drawn else [number(p) for p in shown.probabilities],
            excluded,
            event_json,
            more,
        ),
        _choice(drawn, best, ids[rankable[shown.order[0]]]),
        mode,
        _dsjson(
            event_json, drawn.order, probabilities, built, held, [(n, ids[n]) for n in excluded], odd + trial.logged
        ),
        trial=trial.member,
    )


def _body(
    ids: Sequence[bytes],
    order: Sequence[int],
    probabilities: Sequence[bytes],
    excluded: Sequence[int],
    event_id: bytes,
    more: bytes,
) -> bytes:
    """The RankResponse, members in the order the service wrote them (contract 1.4)."""
    entries = [b'{"id":' + ids[n] + b',"probability":' + p + b"}" for n, p in zip(order, probabilities, strict=True)]
    for n in excluded:  # ascending, so that each stands at its own place in the request (contract 5.3, point 5)
        entries.insert(n, b'{"id":' + ids[n] + b',"probability":0.0}')
    ranking, chosen = b",".join(entries), ids[order[0]]
    return b'{"ranking":[%b],"eventId":%b,"rewardActionId":%b%b}' % (ranking, event_id, chosen, more)


def _choice(drawn: Choice, best: int, shown: bytes) -> bytes:
    """Members of the journal line: what was drawn, what is answered, and how the best-scored action fared."""
    at = 0 if drawn.order[0] == best else drawn.order.index(best)
    members = drawn.order[0], drawn.probabilities[0], shown, drawn.probabilities[at], b',"x":true' if at else b""
    return b'"a":%d,"p":%.9g,"i":%b,"g":%.9g%b' % members


_ORDINALS = [b"%d" % (n + 1) for n in range(MOST_ACTIONS)]


def _dsjson(
    event_id: bytes,
    order: list[int],
    probabilities: list[bytes],
    built: bytes,
    held: Held,
    excluded: list[tuple[int, bytes]],
    more: bytes,
) -> bytes:
    """The part of the joined line that is known now (contract 5.8)."""
    left_out = b",".join([b"[%d,%b]" % left for left in excluded])
    return b'{"Version":"1","EventId":%b,"a":[%b],"c":%b,"p":[%b],"VWState":{"m":"%b"},"epsilon":%.9g%b%b}' % (
        event_id,
        b",".join([_ORDINALS[n] for n in order]),
        built,
        b",".join(probabilities),
        held.name,
        held.exploration,
        b',"excluded":[%b]' % left_out if left_out else b"",
        more,
    )
