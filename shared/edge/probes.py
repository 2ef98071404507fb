"""Turns what a platform asks of an instance, without a key, into whether it is alive, and ready for calls.

Whoever asks learns nothing but that: no name, no number. Asking often costs nothing either: all who ask within a second
get the same answer, and of storage is asked once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from shared.app import App
from shared.contract.errors import ApiError
from shared.edge.calls import Reply, reply_json

_WHY: Final = {"storage": "storage does not answer", "deployment": "the deployment's settings cannot be read"}


async def live(app: App) -> Reply:
    """GET health/live: the process answers; whether it can do anything is not asked."""
    return reply_json({"status": "alive"})


async def ready(app: App) -> Reply:
    """GET health/ready: calls can be answered; otherwise 503, with what is missing as the target."""
    missing = await app.readiness.missing()
    if missing is None:
        return reply_json({"status": "ready"})
    raise ApiError("OperationNotAllowed", f"Not ready: {_WHY[missing]}.", missing, retry_after=1)


PROBES: Final[Mapping[str, Callable[[App], Awaitable[Reply]]]] = {"health/live": live, "health/ready": ready}
"""What answers, by path in lower case. None takes a key, or a place among the calls under way."""
