"""Turns a call of an Azure SDK into one that is bounded in time, repeated where that may help, and counted.

The SDKs' own repetitions are switched off: the one for tables pauses without jitter, so that instances which failed
together come back together, and as long as storage asks it to; the one for blobs ignores 429 and Retry-After; and
neither ends an answer that trickles in for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

TRIES = 3
"""Of one call. Callers that can wait longer repeat the call, and know until when that makes sense."""
_PATIENCE = 10.0
"""Seconds from its start after which a call is not tried again."""
_PAUSE = 0.1
"""Seconds after the first try that failed, on average; twice as many after the second."""
_LONGEST_PAUSE = 2.0
"""Seconds for which a Retry-After is heeded at most: a row that waits longer would miss its bucket."""
_BUSY = (429, 503)
_TRANSIENT = (408, 500, 502, 504, *_BUSY)

T = TypeVar("T")
Count = Callable[[str], None]
"""Counts one more of a counter's name."""


class Calls:
    """How storage is called.

    Args:
        count: gets storage.busy, storage.retries, storage.failed.
        chance: a number in [0, 1), another one each time.
    """

    def __init__(self, count: Count, chance: Callable[[], float] = random.random) -> None:
        self.count = count
        self._chance = chance

    async def answer(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        """What a call returns, after three tries at most.

        Args:
            call: makes it; must do no harm when it is made again although it took effect.
            seconds: how long one try may take, whatever arrives meanwhile.

        Raises:
            AzureError: the last try's.
            TimeoutError: it took too long.
        """
        now = asyncio.get_running_loop().time
        began, tries = now(), 0
        while True:
            tries += 1
            try:
                async with asyncio.timeout(seconds):
                    return await call()
            except (AzureError, TimeoutError, OSError) as e:
                if getattr(e, "status_code", None) in _BUSY:
                    self.count("storage.busy")
                pause = pause_after(e, tries, self._chance())
                if pause is None:
                    raise
                if tries == TRIES or now() - began > _PATIENCE:
                    self.count("storage.failed")
                    raise
            self.count("storage.retries")
            await asyncio.sleep(pause)


def pause_after(error: Exception, tries: int, chance: float) -> float | None:
    """How long to wait before the next try, in seconds; None where another try would end as this one did.

    Args:
        error: that the last try ended with.
        tries: how many there were.
        chance: in [0, 1).
    """
    asked = 0.0
    if isinstance(error, HttpResponseError):
        # Below 300 the answer was cut off or could not be read.
        refused = error.status_code is not None and error.status_code >= 300 and error.status_code not in _TRANSIENT
        if refused or isinstance(error, ClientAuthenticationError):
            return None
        headers: Mapping[str, str] = getattr(error.response, "headers", {})
        header = headers.get("Retry-After", "")
        asked = min(float(header), _LONGEST_PAUSE) if header.isdecimal() else 0.0
    elif not isinstance(error, ServiceRequestError | ServiceResponseError | TimeoutError | OSError):
        return None
    # Never sooner than storage asks for, and not all at once after that either.
    return max(_PAUSE * float(2 ** (tries - 1)) * (0.5 + chance), asked * (1 + chance / 2))
