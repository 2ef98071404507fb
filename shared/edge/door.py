"""Turns a call's path and the size of its body into its place among those under way, or none; and counts answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from shared.access.admission import MAX_BYTES, PERIOD, Admission
from shared.app import App
from shared.edge.probes import PROBES
from shared.log.answers import KINDS
from shared.loops.loops import DEFAULT

Leave = Callable[[], None]
"""Gives a call's place back."""


def enter(app: App, path: str, size: int) -> Leave | None:
    """A place for a call, to be given back once it is answered; None where there is none for it.

    Loops that this process has not served yet share the places of one: their names may be made up.

    Args:
        app: whose calls are counted.
        path: below the host, decoded, without a leading slash.
        size: bytes of the body, as far as they are told. One body counts for a quarter of all bytes at most: it may be
            announced and never come.
    """
    size = min(size, MAX_BYTES // 4)
    if path.lower().rstrip("/") in PROBES:  # which cost next to nothing, and must answer just when there is no place
        return _no_place
    name = _loop_name(path)
    loop = name if app.loops.served(name) else ""
    admission = app.admission
    places = admission.events if _kind(path) else admission.others
    if not places.take(loop, size):
        app.counters.add("calls.turned_away")
        return None
    if not admission.watched:
        admission.watched = True
        _read_again(admission, asyncio.get_running_loop())
    return lambda: places.free(loop, size)


def _no_place() -> None:
    """What is given back for a call that took no place."""


def count(app: App, path: str, status: int) -> None:
    """Count the answer to a rank, reward or activation, where there is such a loop and this process has served it.

    Args:
        app: that answered.
        path: see `enter`.
        status: of the answer.
    """
    if (kind := _kind(path)) and (loop := app.loops.served(_loop_name(path))):
        app.answers.count(loop.id, kind, status)


def _loop_name(path: str) -> str:
    return path[6:].partition("/")[0] if path[:6].lower() == "loops/" else DEFAULT


def _kind(path: str) -> str:
    """What a path asks for, where that is an event's: `rank`, `reward` or `activate`."""
    last = path[-10:].lower().rstrip("/").rpartition("/")
    return last[2] if last[1] and last[2] in KINDS else ""


def _read_again(admission: Admission, loop: asyncio.AbstractEventLoop) -> None:
    loop.call_later(PERIOD, _read, admission, loop, time.monotonic() + PERIOD, time.thread_time())


def _read(admission: Admission, loop: asyncio.AbstractEventLoop, due: float, used: float) -> None:
    """Tell how late the event loop runs, as late as this was called, and how busy. It goes on while there are calls."""
    late = time.monotonic() - due
    admission.adapt(late, (time.thread_time() - used) / (PERIOD + late))
    admission.watched = not admission.idle
    if admission.watched:
        _read_again(admission, loop)
