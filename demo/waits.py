"""Turns a loop's health into patience: until its short reward wait holds, and until what was sent is learned."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from demo.loop import Loop

_MARGIN = 100.0
"""Seconds after its reward wait by which a loop surely has joined an event: the longest grace is 90."""
_SPAN = 60.0
"""The journal is joined by the minute."""
_LONGEST = 180.0
_LOOK_SECONDS = 1.0


def until_quick(loop: Loop) -> None:
    """Return when the loop learns within seconds.

    A shortened wait holds at once where nothing is pending. Else it begins a minute ahead, and events of the longer
    wait must be joined before ours are: so an event of our own, which is never learned, goes ahead and is waited for.
    """
    health = loop.health()
    waits = health["rewardWaits"]
    ends = [later["from"] + earlier["seconds"] for earlier, later in pairwise(waits)]
    if not ends or max(ends) + _MARGIN < health["time"]:
        return
    begins = _next_span(float(waits[-1]["from"]))
    longest = max(float(wait["seconds"]) for wait in waits)
    print(
        f"The loop has events that may still get a reward. Waiting until it has joined them, for "
        f"{max(0.0, begins - health['time']):.0f} to {longest + 2 * _MARGIN:.0f} s ...",
        flush=True,
    )
    time.sleep(max(0.0, begins - health["time"]))
    loop.send_ahead()
    sent = float(loop.health()["time"])
    while (loop.health()["joinedThrough"] or 0) <= sent:
        time.sleep(_LOOK_SECONDS)


def until_learned(loop: Loop) -> dict[str, Any]:
    """Return when the loop has learned all that it was sent, with its health; after three minutes in any case."""
    health = loop.health()
    sent, whole = float(health["time"]), _next_span(float(health["time"]))
    print("Waiting until the loop has learned the last events ...", flush=True)
    deadline = time.monotonic() + _LONGEST
    # Both are null where storage was slow to answer.
    while (
        (health["trainedThrough"] or 0) < sent or (health["joinedThrough"] or 0) < whole
    ) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        health = loop.health()
    return health


def _next_span(moment: float) -> float:
    return -(-moment // _SPAN) * _SPAN
