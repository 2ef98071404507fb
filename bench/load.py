"""A closed-loop load over HTTP/1.1: so many callers, each sends its next request when the last is answered."""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import orjson

from bench.documents import make_actions, rank_request


@dataclass
class Met:
    """What callers were answered: how often by status, and after how long."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        """The statuses, and percentiles in milliseconds."""
        percentiles = statistics.quantiles(self.seconds, n=100)
        statuses = {str(status): times for status, times in self.statuses.items()}
        return {"statuses": statuses, "p50": 1000 * percentiles[49], "p99": 1000 * percentiles[98]}


class Caller(asyncio.Protocol):
    """One caller on one connection."""

    def __init__(self, head: bytes, tail: bytes, until: float, met: Met) -> None:
        self._head = head
        self._tail = tail
        self._until = until
        self._met = met
        self._buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        body = b'{"eventId":"%b",%b' % (uuid.uuid4().hex.encode(), self._tail)
        self._sent = time.perf_counter()
        self._transport.write(self._head % len(body) + body)

    def data_received(self, data: bytes) -> None:
        """Count an answer, and send the next request."""
        self._buffer += data
        head, split, rest = self._buffer.partition(b"\r\n\r\n")
        if not split:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self._buffer = b""
        status = int(head[9:12])
        self._met.statuses[status] += 1
        self._met.seconds.append(time.perf_counter() - self._sent)
        if time.monotonic() < self._until:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)


async def load(port: int, key: str, callers: int, actions: int, seconds: float, loop_path: str = "") -> Met:
    """Load a server's default loop, or that below the path."""
    request = rank_request(random.Random(3), make_actions(random.Random(3), actions))
    head = (
        f"POST {loop_path}/personalizer/v1.0/rank HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Ocp-Apim-Subscription-Key: {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    ).encode()
    met = Met()
    until = time.monotonic() + seconds
    loop = asyncio.get_running_loop()
    started = [
        await loop.create_connection(lambda: Caller(head, orjson.dumps(request)[1:], until, met), "127.0.0.1", port)
        for _ in range(callers)
    ]
    await asyncio.gather(*(caller.done for _, caller in started))
    return met


if __name__ == "__main__":
    arguments = sys.argv[1:]
    made = load(
        int(arguments[0]), arguments[1], int(arguments[2]), int(arguments[3]), float(arguments[4]), *arguments[5:]
    )
    print(orjson.dumps(asyncio.run(made).summary()).decode())
