from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.decoding import MAX_VALUES, decode, json_object
from shared.contract.errors import ApiError


class Part(msgspec.Struct, rename="camel"):
    some_text: str


class Body(msgspec.Struct, rename="camel"):
    """A body with members of several kinds."""

    first_name: str
    size: float = 1.0
    parts: list[Part] = []
    raw: msgspec.Raw = msgspec.Raw(b"null")


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    """One whose fast way refuses what it does not know."""

    value: float


def refusal(body: bytes, kind: type[Any] = Body, code: str = "InvalidContract") -> ApiError:
    with pytest.raises(ApiError) as caught:
        decode(body, kind, code)
    assert caught.value.status == 400
    orjson.loads(caught.value.body())
    return caught.value


def test_a_body_is_decoded() -> None:
    body = decode(b'{"firstName":"a","size":2,"parts":[{"someText":"x"}],"raw":{"any": [1]}}', Body)

    assert (body.first_name, body.size, body.parts) == ("a", 2.0, [Part("x")])
    assert bytes(body.raw) == b'{"any": [1]}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"FIRSTNAME":"a"}',
        b'{"firstname":"a","Size":1}',
        b'{"firstName":"a","unknown":{"firstName":"b"}}',
        b'{"firstName":0,"FirstName":"a"}',
    ],
)
def test_other_spellings_and_unknown_members_are_taken(body: bytes) -> None:
    assert decode(body, Body) == Body("a")


def test_a_closed_struct_drops_what_it_does_not_know() -> None:
    assert decode(b'{"value":1,"more":2}', Closed) == decode(b'{"VALUE":1}', Closed) == Closed(1.0)


def test_raw_members_are_kept_on_the_slow_way_too() -> None:
    assert orjson.loads(bytes(decode(b'{"FirstName":"a","RAW":{"B": [1.0, 2]}}', Body).raw)) == {"B": [1.0, 2]}


@pytest.mark.parametrize(
    ("body", "target", "told"),
    [
        (b"{}", "firstName", "firstName is required."),
        (b'{"size":"1"}', "size", "size: Expected `float`, got `str`."),
        (b'{"firstName":1}', "firstName", "firstName: Expected `str`, got `int`."),
        (b'{"FIRSTNAME":null}', "firstName", "firstName: Expected `str`, got `null`."),
        (b'{"firstName":"a","size":"1"}', "size", "size: Expected `float`, got `str`."),
        (b'{"firstName":"a","parts":[{"someText":1}]}', "parts[0].someText", "parts[0].someText: Expected `str`"),
        (b'{"firstName":"a","parts":[{"someText":"x"},{}]}', "parts[1].someText", "parts[1].someText is required."),
        (b'{"firstName":"a","parts":{}}', "parts", "parts: Expected `array`, got `object`."),
    ],
)
def test_what_is_no_such_struct_is_refused_with_the_code_of_its_call(body: bytes, target: str, told: str) -> None:
    error = refusal(body)

    assert (error.code, error.target) == ("InvalidContract", target)
    assert error.message.startswith(told)
    assert refusal(body, code="BadRequest").code == "BadRequest"


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b"{]", b"nul", b'{"a":NaN}', b"\xff", b'{"firstName":"\xff"}', b"\xef\xbb\xbf{}", b"[" * 5000],
)
def test_what_is_no_json_is_a_bad_request_whatever_the_code(body: bytes) -> None:
    error = refusal(body)

    assert (error.code, error.target) == ("BadRequest", None)
    assert error.message.startswith("The body is not JSON: ")


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"a"', b"true", b'[{"firstName":"a"}]'])
def test_a_body_that_is_no_object_is_a_bad_request(body: bytes) -> None:
    assert refusal(body).code == "BadRequest"
    assert refusal(body).message == "The body must be a JSON object."


def test_a_body_that_can_be_read_but_not_written_is_a_bad_request() -> None:
    error = refusal(b'{"FirstName":"a","raw":' + b"[" * 300 + b"]" * 300 + b"}")

    assert (error.code, error.message) == ("BadRequest", "The body is nested too deep.")


@pytest.mark.parametrize("depth", [100, 1000, 10_000])
def test_unknown_members_may_be_nested_as_deep_as_they_like_or_are_refused(depth: int) -> None:
    body = b'{"firstName":"a","x":' + b"[" * depth + b"]" * depth + b"}"

    try:
        assert decode(body, Body) == Body("a")
    except ApiError as e:
        assert e.code == "BadRequest"


@pytest.mark.parametrize("value", [b"[],", b"1,", b"{},", b'"a,",', b"[[[]]],", b'{"x":1},'])
def test_a_body_of_very_many_values_is_refused_unread(value: bytes) -> None:
    def refused(times: int) -> bool:
        try:
            decode(b'{"firstName":"a","x":[' + value * times + b"1]}", Body)
        except ApiError as e:
            assert (e.code, e.target) == ("PayloadSizeExceeded", None)
            assert f"at most {MAX_VALUES}" in e.message
            return True
        return False

    each = value.count(b",") + value.count(b"[") + value.count(b"{")
    most = (MAX_VALUES - 3) // each  # three stand around them
    assert not refused(most)
    assert refused(most + 1)


def test_a_member_at_fault_is_named_whatever_it_is_called() -> None:
    class Odd(msgspec.Struct):
        values: dict[str, int]

    for key in ("$.x", "`", " - at ", "a.b", "é", ""):
        error = refusal(orjson.dumps({"values": {key: "x"}}), Odd)
        assert error.code == "InvalidContract"
        assert error.message.endswith(".")


def test_an_object_is_read() -> None:
    assert json_object(b' {"a": 1} ') == {"a": 1}


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_become_a_struct_or_a_refusal(body: bytes) -> None:
    for kind in (Body, Closed):
        try:
            decode(body, kind)
        except ApiError as e:
            assert e.status == 400
