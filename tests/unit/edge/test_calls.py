from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from shared.contract.versions import Version
from shared.edge.calls import JSON, Call, Reply, reply_json
from shared.loops.settings import Loop

LOOP = cast(Loop, None)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://h/personalizer/v1.0/rank", "https://h"),
        ("http://127.0.0.1:7071/loops/a/rankloop/v1/loops", "http://127.0.0.1:7071"),
        ("https://h", "https://h"),
        ("https://[::1]:7071/x", "https://[::1]:7071"),
    ],
)
def test_the_host_is_the_address_less_its_path(url: str, host: str) -> None:
    assert Call(LOOP, "default", b"", {}, url=url).host == host


def test_a_call_is_of_the_latest_version_unless_it_says_otherwise() -> None:
    call = Call(LOOP, "default", b"", {})

    assert (call.version, call.id, call.query, call.url) == (Version.V2022, "", {}, "")


class Contract(msgspec.Struct, rename="camel", omit_defaults=True):
    """An answer."""

    some_name: str
    more: str | None = None


@pytest.mark.parametrize(
    ("value", "body"),
    [({"a": [1.0, None]}, b'{"a":[1.0,null]}'), (Contract("x"), b'{"someName":"x"}'), ([], b"[]")],
)
def test_a_value_is_answered_as_json(value: Any, body: bytes) -> None:
    assert reply_json(value) == Reply(200, body, {}, JSON)
    assert reply_json(value, 201, {"a": "b"}) == Reply(201, body, {"a": "b"}, "application/json; charset=utf-8")
