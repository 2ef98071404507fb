"""Turns a real Azurite into bad storage: what passes between it and a client is counted, and spoilt as a plan says."""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import unquote

from localhost.azurite import ACCOUNT, HOST, Azurite, Ports

_ROW = re.compile(r"\(.*\)$")
_DRIP = 0.25
"""Seconds between the drops of an answer that trickles."""


class Fault(Enum):
    """What may become of a request."""

    LOST = auto()
    """It takes effect, and the connection is reset in place of the answer."""
    REFUSED = auto()
    """The connection is reset before storage sees it."""
    BUSY = auto()
    """It is answered 503 ServerBusy, and storage never sees it."""
    THROTTLED = auto()
    """It is answered 429, and storage never sees it."""
    STALLED = auto()
    """It takes effect, and its answer comes much later, if the client still wants it."""
    LATE = auto()
    """It takes effect much later, whether the client still waits or not."""
    TRICKLED = auto()
    """It takes effect, and its answer comes a few bytes at a time."""
    TRUNCATED = auto()
    """It takes effect, and the second half of its answer is missing."""
    TORN = auto()
    """The first half of what it reads is from before the last write that was seen, the second half from after it."""


SLOW = (Fault.STALLED, Fault.LATE, Fault.TRICKLED)
"""Those that take time."""


class Request(NamedTuple):
    """What is asked: of "blob" or "table", by which method, and the path without account, query and row keys."""

    service: str
    method: str
    path: str


@dataclass
class Rule:
    """When a fault strikes.

    Attributes:
        fault: which one.
        service: that it strikes, or both where empty.
        method: likewise.
        path: a regular expression that the path matches from its start.
        chance: of each request that matches.
        skip: how many that match are let through first.
        times: how often it strikes at most.
        seconds: how long a stall lasts, or a trickle, or what Retry-After says.
        struck: how often it has.
    """

    fault: Fault
    service: str = ""
    method: str = ""
    path: str = ""
    chance: float = 1.0
    skip: int = 0
    times: float = float("inf")
    seconds: float = 30.0
    struck: int = 0

    def strikes(self, request: Request, chance: random.Random) -> bool:
        """Whether it strikes this request; one that it does is counted."""
        wanted = self.service in ("", request.service) and self.method in ("", request.method)
        if not wanted or not re.match(self.path, request.path) or self.struck >= self.times:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        struck = chance.random() < self.chance
        self.struck += struck
        return struck


@dataclass
class _Message:
    """A request or an answer: its first line, its headers as they came, and its body."""

    first: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str:
        return next((value for held, value in self.headers if held.lower() == name), "")

    @property
    def ends(self) -> bool:
        return self.header("connection").lower() == "close"

    def encode(self) -> bytes:
        head = [self.first, *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*head, "", ""]).encode("latin-1") + self.body


@dataclass
class Proxy:
    """Stands between clients and an Azurite's blobs and tables, on a thread and ports of its own.

    Args:
        azurite: what stands behind it.
        seed: of the rules' chances.
    """

    azurite: Azurite
    seed: int = 0
    seen: Counter[Request] = field(default_factory=Counter)
    """How often each request came."""
    struck: Counter[Fault] = field(default_factory=Counter)
    """How often each fault was felt."""
    under_way: int = 0
    """How many requests are not done with; a late one is only when it has taken effect."""
    given_up: Counter[Fault] = field(default_factory=Counter)
    """How often a client hung up before a stall or a trickle was over."""

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._plan: list[Rule] = []
        self._lock = threading.Lock()
        self._written: dict[str, list[bytes]] = {}
        # Nothing else holds on to a task whose client has hung up while storage is waited for: it could be collected.
        self._serving: set[asyncio.Task[None] | None] = set()
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.ports = Ports(0, self.azurite.ports.queue, 0)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        assert self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    @property
    def connection_string(self) -> str:
        """What a client is given in place of the Azurite's own. Signatures hold, since they do not cover the host."""
        through = self.azurite.connection_string
        for real, ours in zip(self.azurite.ports, self.ports, strict=True):
            through = through.replace(f":{real}/", f":{ours}/")
        return through

    def plan(self, *rules: Rule) -> None:
        """Let these rules hold from now on, and no others; the first that strikes decides."""
        with self._lock:
            self._plan = list(rules)

    def count(self, service: str = "", method: str = "", path: str = "") -> int:
        """How many requests have come whose path begins so."""
        return sum(
            times
            for request, times in list(self.seen.items())
            if service in ("", request.service) and method in ("", request.method) and request.path.startswith(path)
        )

    def settle(self) -> None:
        """Return when nothing is under way."""
        while self.under_way:
            time.sleep(0.05)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        servers = []
        for service, port in (("blob", self.azurite.ports.blob), ("table", self.azurite.ports.table)):
            servers.append(await asyncio.start_server(self._connection(service, port), HOST, 0, limit=2**20))
        blob, table = (server.sockets[0].getsockname()[1] for server in servers)
        self.ports = Ports(blob, self.azurite.ports.queue, table)
        self._started.set()
        await self._over.wait()
        for server in servers:
            server.close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.01)  # for a connection that was made just before

    def _connection(
        self, service: str, port: int
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            self._serving.add(task)
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while (asked := await _read(reader)) is not None:
                    self.under_way += 1
                    try:
                        goes_on = await self._handle(service, port, asked, reader, writer)
                    finally:
                        self.under_way -= 1
                    if not goes_on or asked.ends:
                        break
            writer.transport.abort()  # a reset, not an end, for whoever still waits
            self._serving.discard(task)

        return serve

    async def _handle(
        self, service: str, port: int, asked: _Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; whether the connection goes on."""
        method, target, _ = asked.first.split(" ")
        path = unquote(target.partition("?")[0]).removeprefix(f"/{ACCOUNT}/")
        request = Request(service, method, _ROW.sub("", path))
        rule = self._rule(request)
        fault = rule.fault if rule else None
        seconds = rule.seconds if rule else 0.0
        if fault is Fault.REFUSED:
            return False
        if fault in (Fault.BUSY, Fault.THROTTLED):
            writer.write(_refusal(service, fault, seconds).encode())
            return True
        if fault is Fault.LATE:
            await self._unless_given_up(fault, reader, seconds, hung_up_is_over=False)
        answer = await _forwarded(port, asked)
        if service == "blob" and method == "PUT" and answer.first.split(" ")[1] == "201":
            self._written[path] = [*self._written.get(path, [])[-1:], asked.body]
        if fault in (Fault.LOST, Fault.LATE):
            return False
        if fault is Fault.STALLED:
            await self._unless_given_up(fault, reader, seconds)
        if fault is Fault.TORN:
            answer = self._torn(path, answer)
        data = answer.encode()
        if fault is Fault.TRUNCATED:
            # With the whole head, and without its last byte where there is nothing else to leave out.
            writer.write(data[: -max(1, len(answer.body) // 2)])
            await writer.drain()
            return False
        if fault is Fault.TRICKLED:
            return await self._trickle(data, reader, writer, seconds)
        writer.write(data)
        await writer.drain()
        return not answer.ends

    def _rule(self, request: Request) -> Rule | None:
        with self._lock:
            self.seen[request] += 1
            for rule in self._plan:
                if rule.strikes(request, self._chance):
                    self.struck[rule.fault] += 1
                    return rule
        return None

    def _torn(self, path: str, answer: _Message) -> _Message:
        """A read of a blob that a write has changed meanwhile; its headers are of the later state."""
        before = self._written.get(path, [])[:-1]
        if not before or not answer.body:
            return answer
        half = min(len(before[0]), len(answer.body)) // 2
        return _Message(answer.first, answer.headers, before[0][:half] + answer.body[half:])

    async def _trickle(
        self, data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
    ) -> bool:
        drops = max(2, int(seconds / _DRIP))
        size = -(-len(data) // drops)
        for n in range(0, len(data), size):
            writer.write(data[n : n + size])
            await writer.drain()
            await self._unless_given_up(Fault.TRICKLED, reader, _DRIP)
        return True

    async def _unless_given_up(
        self, fault: Fault, reader: asyncio.StreamReader, seconds: float, hung_up_is_over: bool = True
    ) -> None:
        """Wait; ConnectionError when the client hangs up meanwhile, if that is to be the end of it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            if reader.at_eof() or reader.exception() is not None:
                self.given_up[fault] += 1
                if hung_up_is_over:
                    raise ConnectionError("the client has given up")
                await asyncio.sleep(until - loop.time())
                return
            await asyncio.sleep(min(0.05, max(0.0, until - loop.time())))


async def _forwarded(port: int, asked: _Message) -> _Message:
    """What storage answers; each request has a connection of its own there, so that none stands in another's way."""
    headers = _kept(asked, ("connection",))
    reader, writer = await asyncio.open_connection(HOST, port, limit=2**20)
    try:
        writer.write(_Message(asked.first, [*headers, ("Connection", "close")], asked.body).encode())
        answer = await _read(reader, to=asked.first)
    finally:
        writer.close()
    if answer is None:
        raise ConnectionError("storage has hung up")
    return _Message(answer.first, _kept(answer, ("connection", "keep-alive")), answer.body)


def _kept(message: _Message, without: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in message.headers if name.lower() not in without]


async def _read(reader: asyncio.StreamReader, to: str = "") -> _Message | None:
    """The next request, or the answer `to` one; None at the connection's end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    message = _Message(first, [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)])
    if to and _bodiless(first, to):
        return message
    if "chunked" in message.header("transfer-encoding").lower():
        while size := int(await reader.readline(), 16):
            message.body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        # It goes on in one piece.
        message.headers = [*_kept(message, ("transfer-encoding",)), ("Content-Length", str(len(message.body)))]
    elif length := message.header("content-length"):
        message.body = await reader.readexactly(int(length))
    return message


def _bodiless(answered: str, asked: str) -> bool:
    return answered.split(" ")[1] in ("204", "304") or asked.startswith("HEAD ")


def _refusal(service: str, fault: Fault, seconds: float) -> _Message:
    """What Azure answers when it is too busy, or is asked too often."""
    code, status = ("ServerBusy", "503 The server is busy.") if fault is Fault.BUSY else ("TooManyRequests", "429 Busy")
    if service == "table":
        kind = "application/json;odata=minimalmetadata"
        body = json.dumps({"odata.error": {"code": code, "message": {"lang": "en-US", "value": "Later."}}}).encode()
    else:
        kind = "application/xml"
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>Later.</Message></Error>'.encode()
    headers = [("Content-Type", kind), ("x-ms-error-code", code), ("Content-Length", str(len(body)))]
    if seconds:
        headers.append(("Retry-After", str(int(seconds))))
    return _Message(f"HTTP/1.1 {status}", headers, body)
