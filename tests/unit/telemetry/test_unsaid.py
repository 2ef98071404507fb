"""Warnings that are logged when the Functions host does not listen, and that it hears of with the next call."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from shared.telemetry import about, unsaid
from shared.telemetry.unsaid import Unsaid

log = logging.getLogger("rankloop.test")


@pytest.fixture
def held() -> Iterator[Unsaid]:
    """As it is installed in Azure."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logging.LogRecord)
    installed = Unsaid()
    installed.install({"WEBSITE_SITE_NAME": "x"})
    yield installed
    installed.install({})
    Unsaid().install({})
    logging.setLogRecordFactory(before)


async def said(held: Unsaid, caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, str]]:
    """What the next call begins with: loggers, levels, and texts without their times."""
    caplog.clear()
    with held.call():
        return [(name, level, text.split("+00:00: ", 1)[-1]) for name, level, text in caplog.record_tuples]


async def test_what_was_logged_between_calls_is_said_by_the_next_one_once(
    held: Unsaid, caplog: pytest.LogCaptureFixture
) -> None:
    log.info("not worth it")
    log.warning("%d lines are late", 3)
    log.error("lost")

    told = await said(held, caplog)

    assert told == [("rankloop.test", logging.WARNING, "3 lines are late"), ("rankloop.test", logging.ERROR, "lost")]
    assert caplog.messages[0].startswith("between calls, at 20")
    assert await said(held, caplog) == []


async def test_what_is_logged_within_a_call_is_not_said_twice(held: Unsaid, caplog: pytest.LogCaptureFixture) -> None:
    async def part() -> None:
        log.error("in a task of the call")

    with held.call():
        log.error("in the call")
        await asyncio.create_task(part())

    assert await said(held, caplog) == []


async def test_what_a_call_leaves_behind_is_of_no_call(held: Unsaid, caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def left() -> None:
        await ended.wait()
        log.error("in a task that the call has begun")

    with held.call():
        task = asyncio.create_task(left())
    ended.set()
    await task

    assert [text for *_, text in await said(held, caplog)] == ["in a task that the call has begun"]


async def test_threads_and_timers_of_the_event_loop_are_of_no_call(
    held: Unsaid, caplog: pytest.LogCaptureFixture
) -> None:
    with held.call():
        await asyncio.to_thread(log.error, "on a thread that the call waits for")
        thread = threading.Thread(target=log.error, args=("on a thread of its own",))
        thread.start()
        await asyncio.to_thread(thread.join)
        called = asyncio.Event()
        asyncio.get_running_loop().call_soon(log.error, "on the event loop")
        asyncio.get_running_loop().call_soon(called.set)
        await called.wait()

    assert [text for *_, text in await said(held, caplog)] == [
        "on a thread that the call waits for",
        "on a thread of its own",
        "on the event loop",
    ]


async def test_it_is_about_whom_it_was_about_and_says_where_it_failed(
    held: Unsaid, caplog: pytest.LogCaptureFixture
) -> None:
    about.install({"WEBSITE_SITE_NAME": "x"})
    with about.about("news"):
        try:
            raise ValueError("the reason")
        except ValueError:
            log.exception("100 % failed")

    ((_, _, text),) = await said(held, caplog)

    assert text.startswith('100 % failed {"loop": "news"}\nTraceback')
    assert text.endswith("ValueError: the reason")


async def test_only_so_many_are_held(
    held: Unsaid, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsaid, "_MOST", 2)
    for n in range(5):
        log.warning("%d", n)

    assert [text for *_, text in await said(held, caplog)] == [
        "0",
        "1",
        "between calls: 3 more lines, which are not held",
    ]
    assert await said(held, caplog) == []


async def test_elsewhere_nothing_is_held_since_nothing_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = Unsaid()
    elsewhere.install({})
    log.error("lost")

    assert await said(elsewhere, caplog) == []


async def test_one_app_listens_at_a_time(held: Unsaid, caplog: pytest.LogCaptureFixture) -> None:
    next_one = Unsaid()
    next_one.install({"WEBSITE_SITE_NAME": "x"})
    log.error("lost")

    assert await said(held, caplog) == []
    assert len(await said(next_one, caplog)) == 1
