"""Log lines that say whom they are about, and that no caller's id can pretend to be a line of its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from shared.telemetry import about


@pytest.fixture(autouse=True)
def factory() -> Iterator[None]:
    """What makes records is left as it was."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logging.LogRecord)
    yield
    logging.setLogRecordFactory(before)


def test_a_line_of_ours_holds_the_loop_and_the_event(caplog: pytest.LogCaptureFixture) -> None:
    about.install({})
    log = logging.getLogger("rankloop.test")
    with about.about("news"):
        log.warning("before")
        about.event("e1")
        log.warning("at %d %%", 5)
    log.warning("behind")

    first, second, last = caplog.records
    assert (vars(first)["loop"], vars(first)["event"]) == ("news", "")
    assert (vars(second)["loop"], vars(second)["event"], second.getMessage()) == ("news", "e1", "at 5 %")
    assert "loop" not in vars(last)


def test_lines_of_others_stay_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    about.install({"WEBSITE_SITE_NAME": "x"})
    with about.about("news"):
        logging.getLogger("azure.core").warning("theirs")

    assert caplog.messages == ["theirs"]
    assert "loop" not in vars(caplog.records[0])


def test_where_members_are_dropped_they_stand_in_the_text(caplog: pytest.LogCaptureFixture) -> None:
    about.install({"WEBSITE_SITE_NAME": "x"})
    log = logging.getLogger("rankloop.test")
    token = about.begin("news", 'a"b\n2026 ERROR %s')
    log.warning("%s failed", "it")
    log.warning("100 % failed")
    about.end(token)
    with about.about("news"):
        log.warning("%s failed", "it")

    told = [message.partition(" {")[2] for message in caplog.messages]
    assert caplog.messages[0].startswith("it failed {")
    assert caplog.messages[1].startswith("100 % failed {")
    assert [json.loads("{" + each) for each in told] == [
        {"loop": "news", "event": 'a"b\n2026 ERROR %s'},
        {"loop": "news", "event": 'a"b\n2026 ERROR %s'},
        {"loop": "news"},
    ]
    assert not [message for message in caplog.messages if "\n" in message]


def test_it_is_installed_once() -> None:
    about.install({})
    made = logging.getLogRecordFactory()
    about.install({})

    assert logging.getLogRecordFactory() is made


def test_an_event_that_belongs_to_no_call_is_nobodys() -> None:
    about.event("e1")

    assert about.current() is None
