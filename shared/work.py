"""Turns a queue's message into the piece of work that it names, and that into a message (ADR 0022)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from shared.counters import Counters
from shared.storage import Queues, StorageError

log = logging.getLogger("rankloop")

QUEUE = "rankloop-work"
"""The one queue of a storage account, for pieces of all kinds."""


class Piece(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """A piece of work, by which whoever does it finds all that it takes. Each kind is a frozen subclass with a `tag`.

    Its message may be read by the release before and the release after: new members have defaults. It may be done
    twice, also at once: what comes of it lies under a name that follows from the piece.
    """


P = TypeVar("P", bound=Piece)


class WorkError(Exception):
    """A message does not name a piece of work that can be done here."""


class _Head(msgspec.Struct):
    kind: str


class Work:
    """The pieces of work of one app.

    Args:
        queues: where they are sent.
        counters: gets work.done, work.failed.
    """

    def __init__(self, queues: Queues, counters: Counters) -> None:
        self._queues = queues
        self._counters = counters
        self._known: dict[str, tuple[type[Piece], Callable[[Any], Awaitable[None]]]] = {}

    def on(self, kind: type[P], handler: Callable[[P], Awaitable[None]]) -> None:
        """Let pieces of a kind be done by `handler`, which raises where one was not done and is to be tried again.

        Raises:
            ValueError: the kind's tag is no name, or another's.
        """
        tag = kind.__struct_config__.tag
        if not isinstance(tag, str) or tag in self._known:
            raise ValueError(f"{kind.__name__} needs a tag of its own, not {tag!r}")
        self._known[tag] = (kind, handler)

    async def send(self, piece: Piece, delay: float = 0.0) -> None:
        """Have a piece done, by any instance, once or several times.

        Args:
            piece: what is to be done.
            delay: seconds before which nobody begins, 7 days at most.

        Raises:
            Unavailable: storage does not answer; the piece may be done all the same.
        """
        await self._queues.send(QUEUE, msgspec.json.encode(piece), delay)

    async def run(self, message: bytes) -> None:
        """Do the piece that a message names.

        Raises:
            WorkError: it names none, or one that this release does not know: a newer instance may.
            Exception: the handler's. The host delivers the message again after any of them.
        """
        kind = "unknown"
        try:
            piece, handler = self._piece(message)
            kind = type(piece).__name__
            await handler(piece)
        except Exception as e:
            self._counters.add("work.failed")
            fault = None if isinstance(e, StorageError | WorkError) else e  # whose place in the code is worth knowing
            log.error("a piece of work (%s) failed and is delivered again: %s", kind, e, exc_info=fault)
            raise
        self._counters.add("work.done")

    def _piece(self, message: bytes) -> tuple[Piece, Callable[[Any], Awaitable[None]]]:
        try:
            kind = msgspec.json.decode(message, type=_Head).kind
            if kind not in self._known:
                raise WorkError(f"this release knows no work of the kind {kind[:64]!r}")
            expected, handler = self._known[kind]
            return msgspec.json.decode(message, type=expected), handler
        except msgspec.DecodeError as e:  # ValidationError is one
            raise WorkError(f"the message is no piece of work: {e}") from e
