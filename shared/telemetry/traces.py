"""Turns stretches of work into spans of a trace, or into nothing where nobody takes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol

Value = str | int | float | bool


class Span(Protocol):
    """A stretch of work that may be told more of while it lasts."""

    def tell(self, name: str, value: Value) -> None:
        """Add a fact; never a key, a subject, or a caller's features."""
        ...


class Tracer(Protocol):
    """Makes spans and sends them; see `export`."""

    def takes(self, parent: str) -> bool:
        """Whether work that was asked for under a traceparent may be of those whose spans are sent; empty for none."""
        ...

    def span(self, name: str, parent: str | None) -> AbstractContextManager[tuple[Span, bool]]:
        """A span around a `with` block, and whether it is one of those that are sent.

        Args:
            name: what is done.
            parent: the W3C traceparent that the work was asked for under, empty where it had none; None for a part of
                the span that is open.
        """
        ...


class _Nothing:
    """Stands for a span where nobody takes it."""

    def tell(self, name: str, value: Value) -> None:
        """Nobody listens."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Let everything through."""


NOTHING = _Nothing()
_SENT: ContextVar[bool] = ContextVar("sent", default=False)


class Traces:
    """The traces of one process; until `send_to` is called they cost next to nothing."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None

    def send_to(self, tracer: Tracer | None) -> None:
        """Have spans that begin from now on made by a tracer; None: by none."""
        self._tracer = tracer

    def whole(self, name: str, parent: str = "") -> AbstractContextManager[Span]:
        """A span of its own, such as that of a call; see `Tracer.span`."""
        if self._tracer is None or not self._tracer.takes(parent):
            return NOTHING
        return _entered(self._tracer.span(name, parent))

    def part(self, name: str) -> AbstractContextManager[Span]:
        """A part of the span that is open, if that is sent."""
        if self._tracer is None or not _SENT.get():
            return NOTHING
        return _entered(self._tracer.span(name, None))


@contextmanager
def _entered(made: AbstractContextManager[tuple[Span, bool]]) -> Iterator[Span]:
    with made as (span, sent):
        token = _SENT.set(sent)
        try:
            yield span
        finally:
            _SENT.reset(token)
