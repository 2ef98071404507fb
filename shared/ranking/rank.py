"""Turns a rank call into a decision and its journal line; then sees the line safe before it is answered.

The way of contract 5.3: sanitise, exclude, score, draw, swap, log. Everything up to the line is a pure function of
the request, the loop and its model; `Ranker` adds the waiting.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import orjson

from shared.clock import StorageClock
from shared.contract.errors import ApiError, unavailable
from shared.contract.requests import MAX_ACTIONS, RankRequest, rank_request
from shared.counters import Counters
from shared.learning.model import ModelError, Scores
from shared.log.buckets import iso
from shared.log.journal import Full, Journal
from shared.log.records import mark, ranked_line
from shared.loops.loops import Loop
from shared.loops.policy import serving_arguments
from shared.ranking.explore import choose
from shared.ranking.features import Action, ActionCache, check_budget, example, is_plain, sanitise_context
from shared.ranking.model_cache import Held, ModelCache
from shared.ranking.sampling import seed


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision, ready to be logged and answered.

    Attributes:
        event_id: the caller's, or one made here.
        event_json: the same as JSON.
        body: the RankResponse as JSON.
        chosen: the chosen action's index among the rankable ones, from 0.
        probability: the probability it was drawn with.
        dsjson: the members of the joined log's line that are known now, as a JSON object, less its Timestamp.
    """

    event_id: str
    event_json: bytes
    body: bytes
    chosen: int
    probability: float
    dsjson: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What Rank answers: the body, and whether the event is safe in the log yet."""

    body: bytes
    durable: bool


def decide(request: RankRequest, plain: bool, loop_id: str, held: Held, cache: ActionCache) -> Decision:
    """Decide a rank call.

    Args:
        request: the checked request.
        plain: what `features.is_plain` says of its body.
        loop_id: the loop's internal id, part of the draw's seed.
        held: the loop's model.
        cache: of sanitised actions.

    Raises:
        ApiError: BadRequest or InvalidRankRequest, as the features and rules of contract 4.3 demand.
        ModelError: VW refuses the sanitised example, which no known document does.
    """
    actions = [cache.get(bytes(raw), n, plain) for n, raw in enumerate(request.actions)]
    _check_distinct(actions)
    excluded_ids = set(request.excluded_actions or ())  # a caller may send very many
    excluded = [n for n, a in enumerate(actions) if a.id in excluded_ids] if excluded_ids else []
    rankable = [n for n in range(len(actions)) if n not in excluded] if excluded else range(len(actions))
    if not rankable:
        message = "excludedActions leaves no action to choose: at least one must remain."
        raise ApiError("InvalidRankRequest", message, "excludedActions")
    ranked = [actions[n] for n in rankable] if excluded else actions
    context = sanitise_context(bytes(request.context_features), plain)
    check_budget(context, ranked)
    built = example(context, ranked)
    # A loop without a model explores uniformly (contract 5.3, point 7).
    count = len(ranked)
    scores = held.model.score(built) if held.model else Scores([1.0 / count] * count, [0.0] * count)
    event_id = request.event_id or f"{uuid.uuid4().hex}-{loop_id[:5]}"  # contract 1.5
    choice = choose(scores.distribution, scores.costs, seed(event_id, loop_id))
    event_json = orjson.dumps(event_id)
    probabilities = [_float(p) for p in choice.probabilities]
    order = [rankable[n] for n in choice.order] if excluded else choice.order
    return Decision(
        event_id,
        event_json,
        _body(actions, order, probabilities, excluded, event_json),
        choice.order[0],
        choice.probabilities[0],
        _dsjson(event_json, choice.order, probabilities, built, held, [(n, actions[n]) for n in excluded]),
    )


def log_line(decision: Decision, time: float, deferred: bool) -> bytes:
    """The journal line of a decision that was taken at a time, in seconds since the epoch."""
    dsjson = b'{"Timestamp":"%b",%b' % (iso(time).encode(), decision.dsjson[1:])
    return ranked_line(decision.event_json, time, deferred, decision.chosen, decision.probability, dsjson)


class Ranker:
    """The Rank call.

    Args:
        deadline: seconds that an answer waits for the log; then it goes out as pending.
        strict: answer 503 in place of pending.
    """

    def __init__(
        self,
        models: ModelCache,
        journal: Journal,
        clock: StorageClock,
        counters: Counters,
        deadline: float,
        strict: bool,
    ) -> None:
        self._models = models
        self._journal = journal
        self._clock = clock
        self._counters = counters
        self._deadline = deadline
        self._strict = strict
        self._cache = ActionCache()

    async def rank(self, loop: Loop, body: bytes) -> Answer:
        """Decide and log one call.

        Raises:
            ApiError: as `decide`, or OperationNotAllowed when the log takes nothing more, when the event is known to
                have missed its bucket or, if strict, when it is not known to be durable in time.
        """
        request = rank_request(body)
        await self._clock.ensure()
        held = await self._models.get(loop.id, serving_arguments(loop.configuration))
        # No waiting between here and the decision: a newer version closes the held model as soon as it is loaded.
        try:
            decision = decide(request, is_plain(body), loop.id, held, self._cache)
        except ModelError as e:
            self._counters.add("rank.model_errors")
            raise ApiError("ModelRankingError", "The learning policy could not rank these features.") from e
        time = self._journal.now()
        line = log_line(decision, time, bool(request.defer_activation))
        try:
            written = self._journal.append("rank", loop.id, loop.waits, line, time, mark(decision.event_id, time))
        except Full as e:
            self._counters.add("rank.refused")
            raise unavailable() from e
        durable = await written.durable(self._deadline)
        if written.lost or (self._strict and not durable):
            written.abandoned = True  # what is on its way already may stand all the same
            self._counters.add("rank.refused")
            raise unavailable()
        if not durable:
            self._counters.add("rank.pending")
        return Answer(decision.body, durable)


def _check_distinct(actions: list[Action]) -> None:
    ids = [action.id for action in actions]
    if len(set(ids)) != len(ids):
        repeated = next(name for n, name in enumerate(ids) if name in ids[:n])
        message = f"Action ids must be distinct; {repeated!r} stands more than once."
        raise ApiError("InvalidRankRequest", message, "actions")


@lru_cache(maxsize=4096)
def _float(number: float) -> bytes:
    """The shortest JSON number for the 32-bit float that the original would send (contract 1.5)."""
    return str(np.float32(number)).encode()


def _body(
    actions: list[Action], order: list[int], probabilities: list[bytes], excluded: list[int], event_id: bytes
) -> bytes:
    """The RankResponse, members in the order the service wrote them (contract 1.4)."""
    entries = [
        b'{"id":' + actions[n].id_json + b',"probability":' + p + b"}"
        for n, p in zip(order, probabilities, strict=True)
    ]
    for n in excluded:  # ascending, so that each stands at its own place in the request (contract 5.3, point 5)
        entries.insert(n, b'{"id":' + actions[n].id_json + b',"probability":0.0}')
    return b'{"ranking":[%b],"eventId":%b,"rewardActionId":%b}' % (
        b",".join(entries),
        event_id,
        actions[order[0]].id_json,
    )


_ORDINALS = [b"%d" % (n + 1) for n in range(MAX_ACTIONS)]


def _dsjson(
    event_id: bytes,
    order: list[int],
    probabilities: list[bytes],
    built: bytes,
    held: Held,
    excluded: list[tuple[int, Action]],
) -> bytes:
    """The part of the joined line that is known now (contract 5.8)."""
    left_out = b",".join([b"[%d,%b]" % (n, action.id_json) for n, action in excluded])
    return b'{"Version":"1","EventId":%b,"a":[%b],"c":%b,"p":[%b],"VWState":{"m":"%b"}%b}' % (
        event_id,
        b",".join([_ORDINALS[n] for n in order]),
        built,
        b",".join(probabilities),
        held.version.version.encode() if held.version else b"N/A",
        b',"excluded":[%b]' % left_out if left_out else b"",
    )
