"""Turns rank calls into answers: decides them by the loop's model, and sees each line safe before it is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from shared.clock import StorageClock
from shared.contract.errors import ApiError, unavailable
from shared.contract.requests import MultiSlotRankRequest, RankRequest, multi_slot_rank_request, rank_request
from shared.counters import Counters
from shared.learning.model import ModelError
from shared.log.journal import Full, Journal
from shared.log.records import mark
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.budget import check_body
from shared.ranking.decision import Decision, log_line
from shared.ranking.features import is_plain
from shared.ranking.model_cache import Held, ModelCache
from shared.ranking.multi_slot import decide_slots
from shared.ranking.rank import decide
from shared.telemetry.about import event
from shared.telemetry.traces import Traces

R = TypeVar("R", RankRequest, MultiSlotRankRequest)


@dataclass(frozen=True, slots=True)
class Answer:
    """What Rank answers: the body, and whether the event is safe in the log yet."""

    body: bytes
    durable: bool


class Ranker:
    """The Rank call.

    Args:
        deadline: seconds that an answer waits for the log; then it goes out as pending.
        strict: answer 503 in place of pending.
        traces: get a span of the decision, and of the wait for the log.
    """

    def __init__(
        self,
        models: ModelCache,
        journal: Journal,
        clock: StorageClock,
        counters: Counters,
        deadline: float,
        strict: bool,
        traces: Traces | None = None,
    ) -> None:
        self._models = models
        self._journal = journal
        self._clock = clock
        self._counters = counters
        self._deadline = deadline
        self._strict = strict
        self._traces = traces or Traces()
        self._cache = ActionCache()

    async def rank(self, loop: Loop, body: bytes, subject: str | None = None) -> Answer:
        """Decide and log one call.

        Args:
            loop: the loop.
            body: of the call.
            subject: the tag of the event's subject, or None.

        Raises:
            ApiError: as `check_body` and `decide`, or OperationNotAllowed when the log takes nothing more, when the
                event is known to have missed its bucket or, if strict, when it is not known to be durable in time.
        """
        check_body(body)
        return await self._answer(loop, body, subject, rank_request(body, loop.limits.most_actions), decide)

    async def rank_slots(self, loop: Loop, body: bytes, subject: str | None = None) -> Answer:
        """The same for a multi-slot call."""
        check_body(body)
        request = multi_slot_rank_request(body, loop.limits.most_actions)
        return await self._answer(loop, body, subject, request, decide_slots)

    async def _answer(
        self,
        loop: Loop,
        body: bytes,
        subject: str | None,
        request: R,
        decide: Callable[[R, bool, Loop, Held, ActionCache, str | None], Decision],
    ) -> Answer:
        await self._clock.ensure()
        held = await self._models.get(loop)
        # No waiting between here and the decision: a newer version closes the held model as soon as it is loaded.
        began = monotonic()
        try:
            with self._traces.part("decide") as span:
                span.tell("rankloop.model", held.name.decode())
                decision = decide(request, is_plain(body), loop, held, self._cache, subject)
        except ModelError as e:
            self._counters.add("rank.model_errors")
            raise ApiError("ModelRankingError", "The learning policy could not rank these features.") from e
        self._counters.measure("rank.scoring", monotonic() - began)
        event(decision.event_id)
        if decision.empty_slots:
            self._counters.add("rank.empty_slots", decision.empty_slots)
        time = self._journal.now()
        line = log_line(decision, time, bool(request.defer_activation), subject)
        try:
            written = self._journal.append("rank", loop.id, loop.waits, line, time, mark(decision.event_id, time))
        except Full as e:
            self._counters.add("rank.refused")
            raise unavailable() from e
        with self._traces.part("log"):
            durable = await written.durable(self._deadline)
        if written.lost or (self._strict and not durable):
            written.abandoned = True  # what is on its way already may stand all the same
            self._counters.add("rank.refused")
            raise unavailable()
        if not durable:
            self._counters.add("rank.pending")
        return Answer(decision.body, durable)
