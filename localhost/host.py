"""Turns HTTP requests, as ASGI hands them over, into calls of functions, and the server's end into the app's."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import azure.functions as func
from azure.functions.timer import TimerRequest

from localhost.admin import Admin
from localhost.config import Config
from localhost.cors import Cors
from localhost.functions import Function, invoke
from localhost.keys import Keys
from localhost.leases import Leases
from localhost.loading import App
from localhost.queues import Queues
from localhost.request import BadRequest, Scope, build_request, read_headers, read_path, read_query
from localhost.response import Response, empty, encode_result
from localhost.router import Router
from localhost.timers import Clock, SystemClock, Timers

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_log = logging.getLogger("localhost")
_PAGE = b"<!doctype html><title>Functions</title><h1>Your function app is up and running</h1>\n"
_HOMEPAGE: Response = (
    200,
    [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(_PAGE))],
    _PAGE,
)
# Where a request holds what to call when it was answered.
LEAVE: Final = "localhost.leave"


class _TooLarge(Exception):
    """The body is longer than the limit."""


class _Disconnected(Exception):
    """The client went away before its request was whole."""


class Host:
    """The ASGI application that serves one function app.

    Attributes:
        router: the HTTP functions by route.
        timers: the timer functions.
        queues: the queue functions.
        abandoned: after the stop, whether something was still running or could not be drained.
    """

    def __init__(
        self,
        app: App,
        config: Config,
        keys: Keys,
        *,
        timers_grace: float = 30.0,
        queues_grace: float = 30.0,
        drain_grace: float = 15.0,
        clock: Clock | None = None,
        leases: Leases | None = None,
    ) -> None:
        """Arrange the functions; `StartError` where the real host would refuse them.

        The graces are the seconds that running timers and pieces of work, and then the app's drain, may take when the
        host stops. With `leases` other replicas stand beside this one.
        """
        self.router = Router(app.functions, config.route_prefix)
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="function")
        statuses = config.data_dir / "timers"
        self.timers = Timers(app.functions, self._call_timer, clock or SystemClock(), statuses, leases)
        self.queues = Queues(app.functions, self._call_queue, config.queues, os.environ)
        self.abandoned = False
        self._admin = Admin(app.functions, keys, self.timers)
        self._app = app
        self._below = len(f"/{config.route_prefix}/") if config.route_prefix else 1
        self._known: tuple[func.HttpResponse | None, Response] = (None, _HOMEPAGE)
        self._config = config
        self._cors = Cors(config)
        self._timers_grace = timers_grace
        self._queues_grace = queues_grace
        self._drain_grace = drain_grace
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's start and stop."""
        if scope["type"] != "http":
            await self._follow_lifespan(receive, send)
            return
        answer = None if LEAVE in scope else self.turn_away(scope)
        if answer is None:
            try:
                answer = await self._serve(scope, receive)
            except _Disconnected:
                return
            finally:
                scope[LEAVE]()
        status, headers, body = answer
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def turn_away(self, scope: Scope) -> Response | None:
        """Ask the app whether it takes the request: the answer if not.

        The server may ask before it makes anything of the request, and then need not call at all.
        """
        scope[LEAVE] = _nothing
        if self._app.admit is None:
            return None
        origin, size = None, 0 if scope["method"] in ("GET", "HEAD") else None
        for name, value in scope["headers"]:
            if name == b"content-length":
                size = int(value)
            elif name == b"origin":
                origin = value.decode("latin-1")
        try:
            verdict = self._app.admit(scope["path"][self._below :], size)
        except Exception:
            _log.exception("nobody could be asked whether to take %s %s", scope["method"], scope["path"])
            return None
        if not isinstance(verdict, func.HttpResponse):
            scope[LEAVE] = verdict
            return None
        if verdict is not self._known[0]:
            self._known = verdict, self._with_headers(encode_result(verdict), None)
        # As it is, so that whoever has it in bytes knows it again.
        return self._with_origin(self._known[1], origin)

    async def _serve(self, scope: Scope, receive: Receive) -> Response:
        origin = None
        try:
            headers = read_headers(scope)
            origin = headers.get("origin")
            answer = await self._answer(scope, headers, receive)
        except BadRequest:
            answer = empty(400)
        except _TooLarge:
            answer = empty(413)
        return self._with_headers(answer, origin)

    def _with_headers(self, answer: Response, origin: str | None) -> Response:
        """An answer with what host.json adds to all of them, and with what lets a page read it."""
        status, headers, body = answer
        return self._with_origin((status, [*headers, *self._config.headers], body), origin)

    def _with_origin(self, answer: Response, origin: str | None) -> Response:
        if origin is None or not self._cors.enabled:
            return answer
        status, headers, body = answer
        return status, [*headers, *self._cors.headers(origin)], body

    async def _answer(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> Response:
        method = scope["method"]
        path, url_path = read_path(scope, decode_slash=self._config.decode_slash)
        if self._cors.enabled and (preflight := self._cors.preflight(method, headers)) is not None:
            return preflight
        if path == "/" and self._config.homepage:
            return _HOMEPAGE
        query = read_query(scope)
        if path[:7].lower() == "/admin/":
            return self._admin.answer(method, path.lower(), headers, query)
        match = self.router.find(method, path)
        if match is None:
            return empty(204 if path == "/" else 404)
        function, level, values = match
        if not self._keys.admit(level, headers, query):
            return empty(401)
        body = await self._read_body(headers, receive)
        request = build_request(scope, url_path, headers, query, values, body)
        try:
            return encode_result(await invoke(function, request, self._pool, headers))
        except Exception:
            # The caller learns nothing of it, as in Azure.
            _log.exception("function %s failed on %s %s", function.name, method, url_path)
            return empty(500)

    async def _read_body(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        length = headers.get("content-length")
        if length is None and "transfer-encoding" not in headers:
            return b""
        limit = self._config.body_limit
        if length is not None and int(length) > limit:
            raise _TooLarge
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise _TooLarge
            chunks.append(chunk)
            more = message.get("more_body", False)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _call_timer(self, function: Function, request: TimerRequest, retry: tuple[int, int]) -> object:
        return await invoke(function, request, self._pool, retry=retry)

    async def _call_queue(self, function: Function, message: func.QueueMessage) -> object:
        return await invoke(function, message, self._pool)

    async def _follow_lifespan(self, receive: Receive, send: Send) -> None:
        # Timers are for the server to start: once it listens, since a timer may call the app it belongs to.
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _stop(self) -> None:
        """Let what is running end, then let the app write what it has accepted."""
        timers, queues = await asyncio.gather(
            self.timers.stop(self._timers_grace), self.queues.stop(self._queues_grace)
        )
        if not timers:
            _log.error("timers still running after %g s were abandoned", self._timers_grace)
        self.abandoned = not timers or not queues
        if self._app.drain is not None:
            try:
                await asyncio.wait_for(self._app.drain(), self._drain_grace)
            except Exception:
                _log.exception("the app's drain failed: what it had not written yet is lost")
                self.abandoned = True
        self._pool.shutdown(wait=not self.abandoned)


def _nothing() -> None:
    """What is to be done for a request that nobody counts."""
