"""Turns a look at what every call needs into whether calls can be answered, and if not, what is missing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Literal

from shared.clock import StorageClock
from shared.loops.loops import Loops
from shared.storage import StorageError, Unavailable

log = logging.getLogger("rankloop.ready")

Missing = Literal["storage", "deployment"]
PATIENCE = 2.0
"""Seconds after which storage is taken for silent."""
STANDS = 1.0
"""Seconds for which an answer stands: many may ask, and none of them has shown a key."""


class Readiness:
    """Whether this process can answer calls.

    Args:
        loops: the deployment's, of whose settings one blob is read.
        clock: the storage's time: known where a row was written in the last minute.
        steady: a clock that never jumps, in seconds.
    """

    def __init__(self, loops: Loops, clock: StorageClock, steady: Callable[[], float] = time.monotonic) -> None:
        self._loops = loops
        self._clock = clock
        self._steady = steady
        self._known: tuple[float, Missing | None] = (-float("inf"), None)
        self._looking: asyncio.Task[None] | None = None

    async def missing(self) -> Missing | None:
        """What is missing: storage that answers, or a deployment that can be read; None where nothing is."""
        if self._steady() - self._known[0] >= STANDS:
            if self._looking is None:
                self._looking = asyncio.ensure_future(self._look())
            await asyncio.wait({self._looking})
        return self._known[1]

    async def _look(self) -> None:
        missing: Missing | None = "storage"
        try:
            async with asyncio.timeout(PATIENCE):
                if not self._clock.known:
                    await self._clock.read()
                missing = "deployment"
                await self._loops.ids()
            missing = None
        except (Unavailable, TimeoutError):
            missing = "storage"
        except StorageError as e:
            log.warning("calls cannot be answered: %s", e)
        finally:
            self._known, self._looking = (self._steady(), missing), None
