"""Log lines as JSON: one line each, whatever is in them."""

import json
import logging
import sys

import pytest

from localhost.config import StartError
from localhost.json_lines import JsonLines
from localhost.server import _formatter


def record(text: str, *args: object) -> logging.LogRecord:
    made = logging.LogRecord("rankloop.web", logging.ERROR, __file__, 1, text, args, None)
    made.created = 1_700_000_000.25
    return made


def test_a_record_is_one_line_with_whom_it_is_about() -> None:
    made = record("%s failed\n", "it")
    made.loop, made.event = "news", 'e"1'

    line = JsonLines().format(made)

    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250+00:00", "level": "error", "logger": "rankloop.web", "message": "it failed\n",
        "loop": "news", "event": 'e"1',
    }  # fmt: skip


def test_an_exception_is_a_member_and_what_is_about_nobody_says_so() -> None:
    made = record("failed")
    made.loop, made.event = "news", ""
    try:
        raise ValueError("why")
    except ValueError:
        made.exc_info = sys.exc_info()

    told = json.loads(JsonLines().format(made))

    assert told["exception"].endswith("ValueError: why")
    assert set(told) == {"time", "level", "logger", "message", "loop", "exception"}


def test_a_format_that_there_is_not_keeps_the_host_from_starting() -> None:
    assert isinstance(_formatter("json"), JsonLines)
    with pytest.raises(StartError, match="RANKLOOP_LOG_FORMAT=xml is no format"):
        _formatter("xml")
