"""Turns the loop and the event that a call is about into members of each log line that is written meanwhile."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

_OURS = "rankloop"
"""The logger of which all of ours are children."""


class About(NamedTuple):
    """Whom log lines are about: the loop by name, or by id in a timer's run; and an event's id, where there is one."""

    loop: str
    event: str = ""


_ABOUT: ContextVar[About | None] = ContextVar("about", default=None)


def begin(loop: str, event: str = "") -> Token[About | None]:
    """Say whom log lines of this task are about from now on, until `end` is called with what is returned."""
    return _ABOUT.set(About(loop, event))


def end(token: Token[About | None]) -> None:
    """Have log lines be about whom they were about before."""
    _ABOUT.reset(token)


@contextmanager
def about(loop: str) -> Iterator[None]:
    """Say whom log lines are about within a `with` block."""
    token = begin(loop)
    try:
        yield
    finally:
        end(token)


def event(event_id: str) -> None:
    """Say which event it is, once that is known."""
    if (held := _ABOUT.get()) is not None:
        _ABOUT.set(held._replace(event=event_id))


def current() -> About | None:
    """Whom log lines are about now."""
    return _ABOUT.get()


def install(environment: Mapping[str, str]) -> None:
    """Have our log lines hold `loop` and `event` as members, for whoever formats them.

    The Functions host takes a line's text and drops its members: there they are put at the end of the text, as JSON,
    in which no caller's id can pretend to be a line of its own.

    Args:
        environment: of the process: in Azure it has WEBSITE_SITE_NAME.
    """
    before = logging.getLogRecordFactory()
    if getattr(before, "tells_about", False):
        return
    in_text = "WEBSITE_SITE_NAME" in environment

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        held = _ABOUT.get()
        if held is not None and record.name.partition(".")[0] == _OURS:
            record.loop, record.event = held
            if in_text:
                told = json.dumps({name: value for name, value in held._asdict().items() if value})
                record.msg = f"{record.msg} {told.replace('%', '%%') if record.args else told}"
        return record

    make.tells_about = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make)
