"""Turns a journal line into one that somebody waits for: until it is durable, or known to be lost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

_COST = 300
"""Bytes a waiting line holds besides its text: its objects' headers, measured."""


@dataclass(slots=True, eq=False)
class Line:
    """A line on its way.

    Attributes:
        text: the journal line.
        bucket: the bucket it belongs to.
        mark: its mark, or nothing.
        done: resolves to True when the line is durable, to False when it missed its bucket or was given up.
        abandoned: nobody wants it any more; it need not be written if it is not on its way yet.
    """

    text: bytes
    bucket: int
    mark: bytes
    done: asyncio.Future[bool]
    abandoned: bool = False

    @property
    def cost(self) -> int:
        """Bytes it takes in the buffer."""
        return len(self.text) + _COST

    @property
    def lost(self) -> bool:
        """Whether it is known that the line is not in the log and will not be."""
        return self.done.done() and not self.done.result()

    async def durable(self, deadline: float) -> bool:
        """Whether the line is durable within so many seconds. It stays on its way if not."""
        if self.done.done():
            return self.done.result()
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()

        def settle(_: object = None) -> None:
            if not waiter.done():
                waiter.set_result(None)

        timer = loop.call_later(deadline, settle)
        self.done.add_done_callback(settle)
        try:
            await waiter
        finally:
            timer.cancel()
            self.done.remove_done_callback(settle)
        return self.done.done() and self.done.result()
