"""Turns a look at storage into one that every caller can ask for and hardly any waits for.

While calls keep coming, a look runs beside them every 2 s; the first call after a silence waits for one. So whatever
a call acts on is at most 5 s old, without a background task that a serverless host would forget.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from shared.storage import StorageError

log = logging.getLogger("rankloop.freshness")

SOFT = 2.0
"""Seconds after which a look is due, beside the calls."""
HARD = 4.5
"""Seconds after which a call waits for the look."""
PATIENCE = 0.3
"""Seconds from its start that calls wait for a look; then what was last seen stands. So few calls of
many pay when storage hangs."""
FIRST_PATIENCE = 5.0
"""The same where nothing was ever seen, and the call can only fail."""
_PAUSE = 1.0
"""Seconds after a look that failed before the next one, on average: instances that failed together look again one by
one."""


Keep = Callable[[], None]


class Freshness:
    """Keeps what `look` sees at most 5 s old while storage answers.

    Args:
        look: reads storage, and returns what keeps what it saw, if that is anything new; raises StorageError when it
            cannot.
        steady: a clock that never jumps, in seconds.
        chance: a number in [0, 1), another one each time.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Keep | None]],
        steady: Callable[[], float] = time.monotonic,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._look = look
        self._steady = steady
        self._chance = chance
        self._seen = -float("inf")
        self._paused = -float("inf")
        self._began = -float("inf")
        self._task: asyncio.Task[None] | None = None
        self._turn = 0
        self._kept = 0

    @property
    def seen(self) -> bool:
        """Whether a look ever succeeded."""
        return self._seen > -float("inf")

    def age(self) -> float:
        """Seconds since the last look that succeeded."""
        return self._steady() - self._seen

    async def ensure(self) -> None:
        """See that a look was had lately; returns after at most 0.3 s, or 5 s when nothing was ever seen."""
        age = self.age()
        if age < SOFT:
            return
        if self._task is None:
            if self._steady() < self._paused:
                return
            self._began = self._steady()
            self._task = asyncio.ensure_future(self._run())
        if age >= HARD:
            left = self._began + (PATIENCE if self.seen else FIRST_PATIENCE) - self._steady()
            if left > 0:
                await asyncio.wait({self._task}, timeout=left)

    async def refresh(self) -> None:
        """Look now, and wait for it.

        Raises:
            StorageError: the look failed.
        """
        self._turn += 1
        turn, started = self._turn, self._steady()
        keep = await self._look()
        if turn < self._kept:
            return  # a look that began later has ended before: what it saw stands
        self._kept = turn
        if keep is not None:
            keep()
        self._seen = max(self._seen, started)

    async def _run(self) -> None:
        try:
            await self.refresh()
        except Exception as e:
            self._paused = self._steady() + _PAUSE * (0.5 + self._chance())
            fault = None if isinstance(e, StorageError) else e  # whose place in the code is worth knowing
            log.warning("storage could not be looked at; what was last seen stands: %s", e, exc_info=fault)
        finally:
            self._task = None
