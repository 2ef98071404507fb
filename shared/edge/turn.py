"""Turns a lock that others may hold for minutes into a turn at it for a caller, or soon into a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.contract.errors import busy

PATIENCE = 20.0
"""Seconds that a caller waits for it: Azure gives up a call that is not answered after 230, and what is done by then
would take effect all the same."""


@asynccontextmanager
async def turn(lock: asyncio.Lock) -> AsyncIterator[None]:
    """Hold a lock.

    Raises:
        ApiError: OperationNotAllowed: it is not to be had in time, and nothing was done.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            await lock.acquire()
    except TimeoutError as e:
        raise busy() from e
    try:
        yield
    finally:
        lock.release()
