"""Turns this machine's clock and the times storage answers with into the storage's time.

Journal buckets are named by the storage's clock, so that writers whose own clocks differ agree on them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from shared.storage import StorageError

log = logging.getLogger("rankloop.clock")

_TRUST = 60.0
"""Seconds for which the best sample stands; clocks drift by far less than a millisecond in that time."""
WORST = 2.0
"""Seconds by which a sample may be off: half the least grace of a bucket, so that what it stamps is still in time."""
_PATIENCE = 0.4
"""Seconds from its start that callers wait for a sample, so that few calls of many pay when storage hangs."""
_PAUSE = 5.0
"""Seconds after a probe that failed before the next one, on average: instances that failed together ask again one by
one."""


class StorageClock:
    """The storage's time, estimated from writes.

    Args:
        probe: writes something small, and returns the storage's own time of the write.
        local: this machine's clock, in seconds since the epoch. The wall clock, since a monotonic one stands still
            while a laptop sleeps.
        chance: a number in [0, 1), another one each time.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[float]],
        local: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.local = local
        self._chance = chance
        self._probe = probe
        self._offset = 0.0
        self._error = float("inf")
        self._sampled = -float("inf")
        self._began = -float("inf")
        self._failed = -float("inf")
        self._pause = _PAUSE
        self._calibrating: asyncio.Future[None] | None = None

    def now(self) -> float:
        """The storage's time in seconds since the epoch; this machine's own until the first sample."""
        return self.local() + self._offset

    @property
    def known(self) -> bool:
        """Whether a sample of the last minute stands behind `now`."""
        return 0 <= self.local() - self._sampled < _TRUST

    async def ensure(self) -> None:
        """Wait for a sample where none of the last minute stands: on the first call, and after a silence.

        Where storage does not answer in time this machine's clock stands in. The journal checks what storage says of
        the row itself, so a wrong clock can delay an event, but not lose one that was acknowledged.
        """
        if self.known or 0 <= self.local() - self._failed < self._pause:
            return
        if self._calibrating is None:
            self._began = self.local()
            self._calibrating = asyncio.ensure_future(self._calibrate())
        left = self._began + _PATIENCE - self.local()
        if left > 0:
            await asyncio.wait({self._calibrating}, timeout=min(left, _PATIENCE))  # the clock may have been set back

    async def read(self) -> float:
        """The storage's time by its own word, of a moment ago: unlike `now`, it is never ahead.

        Raises:
            StorageError: storage does not answer.
        """
        started = self.local()
        written = await self._probe()
        self.sample(started, written)
        return written

    async def _calibrate(self) -> None:
        try:
            await self.read()
        except StorageError as e:
            self._failed, self._pause = self.local(), _PAUSE * (0.5 + self._chance())
            log.warning("storage does not tell its time, this machine's clock stands in: %s", e)
        finally:
            self._calibrating = None

    def sample(self, started: float, written: float) -> None:
        """Learn from one write.

        Args:
            started: the reading of `local` before the write was sent.
            written: the storage's own time of the write, in seconds since the epoch.
        """
        ended = self.local()
        error = (ended - started) / 2
        if not 0 <= error <= WORST:
            return  # the process was frozen meanwhile, the clock was set, or storage is so slow that it tells nothing
        # The quickest write of the last minute knows best: its half duration bounds the error. A write that storage
        # stamps outside its own duration shows that the local clock was set meanwhile.
        jumped = abs(written - (started + ended) / 2 - self._offset) > error + self._error
        if error <= self._error or not self.known or jumped:
            self._error, self._sampled = error, ended
            self._offset = written - (started + ended) / 2
