"""An open-loop load over HTTP/1.1: so many calls a second, whether the ones before were answered or not.

`python -m bench.flood <settings as JSON>` prints what was answered as JSON. Ranks of new events and rewards of accepted
ones alternate. With no rate it is a closed loop: so many callers, each of which calls again once it was answered.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import uuid
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import orjson
import uvloop

from bench.documents import make_actions, rank_request

SLOTS = 5000
"""Milliseconds that latencies are told apart by; what took longer counts as the last."""


@dataclass(frozen=True)
class Settings:
    """What is sent where.

    Attributes:
        path: of the loop, such as `/loops/news`; empty for the default loop.
        rate: calls a second; 0 for a closed loop.
        connections: at most, or callers of a closed loop.
    """

    port: int
    key: str
    path: str
    rate: float
    connections: int
    seconds: float


@dataclass
class Told:
    """What was answered.

    Attributes:
        accepted, refused: answers by the milliseconds that they took.
        unsure: rewards that were accepted, and then answered 503 since they were not durable in time.
        pending: ranks that were answered before they were durable.
        unsent: calls that were due with no connection free.
        wrong: answers that are none of 201, 204 and a complete 503; the first of them in words.
        last_refusal: seconds from the start to the last call that was refused.
    """

    accepted: list[int] = field(default_factory=lambda: [0] * SLOTS)
    refused: list[int] = field(default_factory=lambda: [0] * SLOTS)
    unsure: int = 0
    pending: int = 0
    unsent: int = 0
    wrong: list[str] = field(default_factory=list)
    last_refusal: float = 0.0
    seconds: float = 0.0


class Flood:
    """The load: what is sent next, and what came back."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.told = Told()
        self.idle: list[Connection] = []
        self.opened = 0
        self.until = time.monotonic() + settings.seconds
        self.began = time.monotonic()
        self._events: deque[bytes] = deque(maxlen=1000)
        self._known: set[bytes] = set()
        tail = orjson.dumps(rank_request(random.Random(3), make_actions(random.Random(3), 4, 4), 4))[1:]
        rest = (
            f" HTTP/1.1\r\nHost: 127.0.0.1:{settings.port}\r\nOcp-Apim-Subscription-Key: {settings.key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        start = f"POST {settings.path}/personalizer/v1.0/"
        self._rank = f"{start}rank{rest}{len(tail) + 46}\r\n\r\n".encode() + b'{"eventId":"%b",' + tail
        self._reward = f'{start}events/%b/reward{rest}15\r\n\r\n{{"value": 0.50}}'.encode()
        self._turn = False

    def call(self) -> tuple[bytes, bytes]:
        """The next call, and the event it ranks, if it does."""
        self._turn = not self._turn
        if self._turn or not self._events:
            event = uuid.uuid4().hex.encode()
            return self._rank % event, event
        return self._reward % self._events.popleft(), b""

    def answered(self, answer: bytes, event: bytes, took: float) -> None:
        """Take down an answer."""
        slot = min(int(took * 1000), SLOTS - 1)
        status = answer[9:12]
        if status == b"201" or status == b"204":
            self.told.accepted[slot] += 1
            if event:
                self._events.append(event)
                self.told.pending += b"x-rankloop-log" in answer
        elif status == b"503" and (answer in self._known or self._is_refusal(answer)):
            if b"Too many calls" in answer:
                self.told.refused[slot] += 1
                self.told.last_refusal = time.monotonic() - self.began
            else:
                self.told.unsure += 1
        else:
            self.told.wrong.append(answer[:300].decode("latin-1"))

    def _is_refusal(self, answer: bytes) -> bool:
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
        error = orjson.loads(body)["error"]
        if b"retry-after" not in headers or error["code"] != "OperationNotAllowed" or not error["message"]:
            return False
        self._known.add(answer)
        return True

    def lost(self, connection: Connection) -> None:
        """Do without a connection, which the server ends when it has long been idle."""
        if connection in self.idle:
            self.idle.remove(connection)
            self.opened -= 1
        else:
            self.told.wrong.append("a connection was ended under a call")

    async def run(self) -> Told:
        """Send until the time is over, and wait for what is still to come."""
        loop = asyncio.get_running_loop()
        settings = self.settings
        if not settings.rate:
            for _ in range(settings.connections):
                await self._connect(loop)
        sent = 0
        while (now := time.monotonic()) < self.until:
            due = int((now - self.began) * settings.rate) - sent
            sent += due
            for n in range(due):
                if self.idle:
                    self.idle.pop().send()
                elif self.opened < settings.connections:
                    await self._connect(loop)
                else:
                    self.told.unsent += due - n
                    break
            await asyncio.sleep(0.002)
        self.told.seconds = time.monotonic() - self.began
        for _ in range(500):
            if len(self.idle) == self.opened:
                break
            await asyncio.sleep(0.01)
        else:
            self.told.wrong.append(f"{self.opened - len(self.idle)} calls were never answered")
        return self.told

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened += 1
        await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.settings.port)


class Connection(asyncio.Protocol):
    """One connection, with one call at a time."""

    def __init__(self, flood: Flood) -> None:
        self._flood = flood
        self._buffer = b""
        self._event = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first call."""
        self._transport = cast(asyncio.Transport, transport)
        self.send()

    def send(self) -> None:
        """Send the next call."""
        call, self._event = self._flood.call()
        self._sent = time.monotonic()
        self._transport.write(call)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that it has ended."""
        self._flood.lost(self)

    def data_received(self, data: bytes) -> None:
        """Take an answer down once it is whole."""
        data = self._buffer = self._buffer + data if self._buffer else data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        if data[9:12] != b"204":
            length = int(data[:end].lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(data) < end + 4 + length:
                return
        self._buffer = b""
        now = time.monotonic()
        self._flood.answered(data, self._event, now - self._sent)
        if not self._flood.settings.rate and now < self._flood.until:
            self.send()
        else:
            self._flood.idle.append(self)


def main(settings: dict[str, Any]) -> None:
    """Print what was answered."""

    async def flooded() -> Told:
        return await Flood(Settings(**settings)).run()

    print(json.dumps(asdict(uvloop.run(flooded()))))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
