"""Turns bytes of a connection into requests of the host, and those that the app does not take into answers at once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, cast
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from localhost.host import LEAVE, Host
from localhost.request import Scope
from localhost.response import Response

_PAUSE = 0.005
"""Seconds after which connections that were turned away are read from again, some at a time."""
_SHARE = 0.35
"""Part of this thread's processor time that they may take: what the last ones cost says how many those are."""
_MOST = 0.02
"""Seconds of that time that count at once: else all would come together after a turn that was long by itself."""
_LEAST = 10
"""How many are read from again in any case."""
_WEIGHT = 0.02
"""Of the last one, in what they cost."""
_CHEAPEST = 25e-6
"""Seconds that one counts for at least: to be read from costs something too, for a few bytes of a body, say."""


def _nothing() -> None:
    """Gives back no place, where none was taken."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with a way for requests that are turned away that costs a tenth of the ordinary one.

    A connection that was turned away is not read from for some milliseconds, and longer where there are many: else
    answers to a flood would take all of each turn of the event loop, and accepted requests need several turns. So they
    take a third of the time, whatever part of it other processes leave.
    """

    _turned_away = False
    _answer: tuple[Response | None, bytes] = (None, b"")
    """The last answer, and its bytes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Take the connection, whose requests may be turned away with those of all others."""
        super().connection_made(transport)
        self._parking = _parking(self.loop)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request, and do not read on for a while where the request was turned away."""
        began = time.thread_time()
        super().data_received(data)
        if self._turned_away:
            self._parking.park(self, time.thread_time() - began)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._turned_away = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Answer the request where the app does not take it; else go on as ever."""
        answer = self._ask()
        if answer is None:
            try:
                super().on_headers_complete()
            except BaseException:  # an address too long to take apart, say: nobody will call the host
                cast(Scope, self.scope).pop(LEAVE, _nothing)()
                raise
            return
        self._turned_away = True
        last, raw = Connection._answer
        if answer is not last:
            status, headers, body = answer
            raw = b"".join([STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers), b"\r\n", body])
            Connection._answer = answer, raw
        self.transport.write(raw)
        self.on_response_complete()

    def _ask(self) -> Response | None:
        """The answer to a request that is turned away: of the plain ones, the others go the ordinary way first."""
        app: Any = self.app
        raw_path = self.url.partition(b"?")[0]
        if (
            not isinstance(app, Host)
            or not (self.cycle is None or self.cycle.response_complete)
            or self.flow.write_paused  # a client that does not read its answers
            or b"%" in raw_path
            or not raw_path.startswith(b"/")
            or not self.parser.should_keep_alive()
        ):
            return None
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["path"] = raw_path.decode("ascii")
        return None if self.scope["method"] == "HEAD" else app.turn_away(cast(Scope, self.scope))

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, of which nobody wants to know where the request was answered."""
        if not self._turned_away:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if not self._turned_away:
            super().on_message_complete()


class _Parking:
    """Connections that are not read from for a while, in the order they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parked: deque[Connection] = deque()
        self._used = 0.0
        self._cost = _CHEAPEST

    def park(self, connection: Connection, cost: float) -> None:
        """Do not read from a connection that was turned away, which took so many seconds of this thread."""
        self._cost += _WEIGHT * (max(cost, _CHEAPEST) - self._cost)
        if not self._parked:
            self._wait()
        connection.flow.pause_reading()
        self._parked.append(connection)

    def _wait(self) -> None:
        self._used = time.thread_time()
        self._loop.call_later(_PAUSE, self._go_on)

    def _go_on(self) -> None:
        used = min(time.thread_time() - self._used, _MOST)
        many = max(_LEAST, int(_SHARE * used / self._cost))
        for _ in range(min(many, len(self._parked))):
            connection = self._parked.popleft()
            if not connection.transport.is_closing():
                connection.flow.resume_reading()
        if self._parked:
            self._wait()


_parkings: WeakKeyDictionary[asyncio.AbstractEventLoop, _Parking] = WeakKeyDictionary()


def _parking(loop: asyncio.AbstractEventLoop) -> _Parking:
    if loop not in _parkings:
        _parkings[loop] = _Parking(loop)
    return _parkings[loop]
