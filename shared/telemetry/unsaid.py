"""Turns warnings that were logged while no call was under way into log lines of the next one, for the Functions host.

The host takes a line under the id of a call, or of a timer's or a queue's run, that it waits for, and drops all others.
Its worker reads the id off the task that logs: a task has that of whoever began it, also when that one has ended long
ago; a thread, and what a timer of the event loop calls, have none.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple

log = logging.getLogger("rankloop")

_MOST = 100
"""Lines that are held. Those that come first are the ones that say why."""


class _Line(NamedTuple):
    logger: str
    level: int
    text: str
    at: float


class _UnderWay:
    """One call, for whatever it begins to look at: a context is copied into tasks, and this is not."""

    def __init__(self) -> None:
        self.ended = False


_CALL: ContextVar[_UnderWay | None] = ContextVar("call", default=None)


class Unsaid(logging.Handler):
    """Holds our warnings and errors until somebody listens."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._held: deque[_Line] = deque()
        self._missed = 0

    def install(self, environment: Mapping[str, str]) -> None:
        """Listen, in place of one that did before, where the host is one that drops lines.

        Args:
            environment: of the process: in Azure it has WEBSITE_SITE_NAME.
        """
        for before in [handler for handler in log.handlers if isinstance(handler, Unsaid)]:
            log.removeHandler(before)
        if "WEBSITE_SITE_NAME" in environment:
            log.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Hold a line that the host drops; see `logging.Handler.emit`."""
        if _heard():
            return
        if len(self._held) < _MOST:
            text = logging.Formatter().format(record)  # now: its arguments may change, and its traceback holds much
            self._held.append(_Line(record.name, record.levelno, text, record.created))
        else:
            self._missed += 1

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around what the host waits for: say what is held, and let what is logged within pass."""
        token = _CALL.set(call := _UnderWay())
        try:
            if self._held:
                self._say()
            yield
        finally:
            call.ended = True
            _CALL.reset(token)

    def _say(self) -> None:
        for _ in range(len(self._held)):
            line = self._held.popleft()
            at = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds")
            logging.getLogger(line.logger).log(line.level, "between calls, at %s: %s", at, line.text)
        missed, self._missed = self._missed, 0
        if missed:
            log.warning("between calls: %d more lines, which are not held", missed)


def _heard() -> bool:
    call = _CALL.get()
    if call is None or call.ended:
        return False
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # on a thread that has no event loop
        return False
