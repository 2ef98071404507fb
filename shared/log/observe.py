"""Turns a reward or an activation into its journal line, and sees the line safe before it is answered."""

from __future__ import annotations

import hashlib
from typing import Literal

from shared.clock import StorageClock
from shared.contract.errors import unavailable
from shared.counters import Counters
from shared.log.buckets import Waits
from shared.log.journal import Full, Journal
from shared.log.records import Observed, encode_observed, event_key

_MAX_REQUEST_ID = 128


class Observer:
    """The Reward and Activate calls.

    Args:
        deadline: seconds that an answer waits for the log; then the caller is asked to repeat the call.
    """

    def __init__(self, journal: Journal, clock: StorageClock, counters: Counters, deadline: float) -> None:
        self._journal = journal
        self._clock = clock
        self._counters = counters
        self._deadline = deadline

    async def observe(
        self,
        loop_id: str,
        waits: Waits,
        event_id: str,
        kind: Literal["r", "a"],
        request_id: str | None,
        value: float = 0.0,
        slots: list[tuple[str, float]] | None = None,
    ) -> None:
        """Log one observation; returns when it is durable.

        Args:
            loop_id: the loop's internal id.
            waits: the loop's reward waits.
            event_id: checked; whether it was ever ranked does not matter (contract 4.3).
            kind: "r" for a reward, "a" for an activation.
            request_id: the caller's `x-ms-client-request-id`; a repetition under the same one counts once.
            value: the reward of a single-slot event.
            slots: the rewards of a multi-slot event by slot id.

        Raises:
            ApiError: OperationNotAllowed when it is not known to be durable in time: it may count or not.
        """
        await self._clock.ensure()
        time = self._journal.now()
        line = encode_observed(Observed(event_key(event_id), time, kind, value, slots, _kept(request_id)))
        try:
            written = self._journal.append("obs", loop_id, waits, line, time)
        except Full as e:
            self._counters.add("observe.refused")
            raise unavailable() from e
        if not await written.durable(self._deadline):
            written.abandoned = True
            self._counters.add("observe.unsure")
            raise unavailable()


def _kept(request_id: str | None) -> str | None:
    """A request id as the log keeps it: a short digest of one longer or odder than any SDK's."""
    if request_id is None or (len(request_id) <= _MAX_REQUEST_ID and request_id.isascii()):
        return request_id
    return hashlib.blake2b(request_id.encode(errors="surrogatepass"), digest_size=16).hexdigest()
