"""Every rule of contract 4.3 for single-slot calls that can be held before features are looked at."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.errors import ApiError
from shared.contract.requests import check_event_id, rank_request, reward_request

ACTION: dict[str, Any] = {"id": "a", "features": [{"x": 1}]}


def refusal(body: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        rank_request(body)
    return caught.value


def test_a_full_rank_body_is_read() -> None:
    request = rank_request(
        b'{"contextFeatures": [{"t": 1}], "actions": [{"id": "a"}, {"id": "b"}], "excludedActions": ["b"],'
        b' "eventId": "e/1", "deferActivation": true}'
    )

    assert [bytes(action) for action in request.actions] == [b'{"id": "a"}', b'{"id": "b"}']
    assert bytes(request.context_features) == b'[{"t": 1}]'
    assert request.excluded_actions == ["b"]
    assert request.event_id == "e/1"
    assert request.defer_activation is True


def test_only_actions_are_required() -> None:
    request = rank_request(orjson.dumps({"actions": [ACTION]}))

    assert bytes(request.context_features) == b"null"
    assert request.excluded_actions is None
    assert request.event_id is None
    assert request.defer_activation is False


@pytest.mark.parametrize("member", ["contextFeatures", "excludedActions", "eventId", "deferActivation"])
def test_null_is_as_good_as_absent(member: str) -> None:
    request = rank_request(orjson.dumps({"actions": [ACTION], member: None}))

    assert bytes(request.context_features) == b"null"
    assert not request.excluded_actions
    assert request.event_id is None
    assert not request.defer_activation


@pytest.mark.parametrize(
    "body",
    [
        {"Actions": [ACTION], "EVENTID": "e", "deferactivation": True},
        {"actions": [ACTION], "eventId": "e", "deferActivation": True, "positionFeatures": [1]},
        {"actions": "overridden", "ACTIONS": [ACTION], "eventId": "e", "deferActivation": True},
    ],
    ids=["case", "unknown", "two spellings, the last counts"],
)
def test_unusual_member_names_are_taken(body: dict[str, Any]) -> None:
    request = rank_request(orjson.dumps(body))

    assert [orjson.loads(bytes(action)) for action in request.actions] == [ACTION]
    assert request.event_id == "e"
    assert request.defer_activation is True


@pytest.mark.parametrize("count", [1, 50])
def test_one_to_fifty_actions_are_taken(count: int) -> None:
    assert len(rank_request(orjson.dumps({"actions": [ACTION] * count})).actions) == count


@pytest.mark.parametrize(
    ("body", "target", "problem"),
    [
        ({"actions": []}, "actions", "1 to 50 actions; it holds 0"),
        ({"actions": [ACTION] * 51}, "actions", "1 to 50 actions; it holds 51"),
        ({"actions": [ACTION], "eventId": ""}, "eventId", "it has 0"),
        ({"actions": [ACTION], "eventId": "x" * 257}, "eventId", "it has 257"),
    ],
)
def test_a_broken_rule_is_an_invalid_rank_request(body: dict[str, Any], target: str, problem: str) -> None:
    error = refusal(orjson.dumps(body))

    assert (error.code, error.status, error.target) == ("InvalidRankRequest", 400, target)
    assert error.message.startswith(target)
    assert problem in error.message


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({}, None),
        ({"actions": None}, "actions"),
        ({"actions": {}}, "actions"),
        ({"actions": "a"}, "actions"),
        ({"actions": [ACTION], "excludedActions": "a"}, "excludedActions"),
        ({"actions": [ACTION], "excludedActions": {"a": 1}}, "excludedActions"),
        ({"actions": [ACTION], "excludedActions": [1]}, "excludedActions[0]"),
        ({"actions": [ACTION], "excludedActions": [None]}, "excludedActions[0]"),
        ({"actions": [ACTION], "eventId": 1}, "eventId"),
        ({"actions": [ACTION], "eventId": ["e"]}, "eventId"),
        ({"actions": [ACTION], "deferActivation": "true"}, "deferActivation"),
        ({"actions": [ACTION], "deferActivation": 1}, "deferActivation"),
        ({"Actions": 1, "unknown": 2}, "actions"),
    ],
)
def test_a_wrong_type_is_a_bad_request(body: dict[str, Any], target: str | None) -> None:
    error = refusal(orjson.dumps(body))

    assert (error.code, error.status, error.target) == ("BadRequest", 400, target)
    assert (target or "actions") in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"actions",
        b'{"actions":[NaN]}',
        b'{"actions":[{"id":"a","features":[{"x":1e400}]}], "unknown": 1}',
        b'{"actions":[],}',
        b'{"actions":[{"id":"\xff"}],"unknown":1}',
        b'{"eventId":"\xff","actions":[1]}',
        b'\xef\xbb\xbf{"actions":[]}',
        b'{"actions":[' + b"[" * 300_000 + b"]" * 300_000 + b"]}",
        b"[" * 5000,
    ],
    ids=repr,
)
def test_what_is_no_json_is_a_bad_request(body: bytes) -> None:
    error = refusal(body)

    assert (error.code, error.target) == ("BadRequest", None)
    assert error.message.startswith("The body is not JSON: ")


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"actions"', b"true"])
def test_a_body_that_is_no_object_is_a_bad_request(body: bytes) -> None:
    error = refusal(body)

    assert (error.code, error.message) == ("BadRequest", "The body must be a JSON object.")


@pytest.mark.parametrize("depth", [300, 1000])
def test_a_body_that_can_be_read_but_not_written_is_a_bad_request(depth: int) -> None:
    # orjson reads 1024 levels and writes 254; the slow way does both.
    error = refusal(b'{"Actions":[' + b"[" * depth + b"]" * depth + b"]}")

    assert (error.code, error.message) == ("BadRequest", "The body is nested too deep.")


def test_an_event_id_of_256_characters_is_taken_whatever_they_are() -> None:
    event_id = 'é🎉/ \0\\"' * 32

    assert rank_request(orjson.dumps({"actions": [ACTION], "eventId": event_id})).event_id == event_id


def test_an_event_id_with_a_lone_surrogate_cannot_be_decoded() -> None:
    assert refusal(b'{"actions":[{}],"eventId":"\\ud800"}').code == "BadRequest"


@pytest.mark.parametrize("event_id", ["", "x" * 257, "a\udfff", "\ud800"])
@pytest.mark.parametrize("code", ["InvalidRewardRequest", "InvalidEventIdToActivate"])
def test_an_event_id_of_a_path_is_refused_with_the_code_of_its_call(event_id: str, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_event_id(event_id, code)

    assert (caught.value.code, caught.value.target) == (code, "eventId")
    assert caught.value.message.startswith("eventId ")
    orjson.loads(caught.value.body())


@pytest.mark.parametrize("event_id", ["e", "x" * 256, "é" * 256, "a/b%2F", "\ud7ff\ue000"])
def test_any_other_event_id_is_taken(event_id: str) -> None:
    check_event_id(event_id, "InvalidRewardRequest")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"value":1}', 1.0),
        (b'{"value": -0.25}', -0.25),
        (b'{"value":0}', 0.0),
        (b'{"value":5}', 5.0),
        (b'{"value":-1e30}', -1e30),
        (b'{"value":3e38}', 3e38),
        (b'{"value":1e-320}', 1e-320),
        (b'{"Value":1}', 1.0),
        (b'{"value":1,"slot":"x"}', 1.0),
        (b'{"value":2,"value":1}', 1.0),
    ],
)
def test_any_finite_reward_is_taken(body: bytes, value: float) -> None:
    read = reward_request(body)

    assert isinstance(read, float)
    assert read == value


@pytest.mark.parametrize(
    ("body", "code", "target"),
    [
        (b"", "BadRequest", None),
        (b"1", "BadRequest", None),
        (b"[]", "BadRequest", None),
        (b"{}", "BadRequest", None),
        (b'{"value":null}', "BadRequest", "value"),
        (b'{"value":"1"}', "BadRequest", "value"),
        (b'{"value":true}', "BadRequest", "value"),
        (b'{"value":[1]}', "BadRequest", "value"),
        (b'{"value":NaN}', "BadRequest", None),
        (b'{"value":Infinity}', "BadRequest", None),
        (b'{"value":1e400}', "BadRequest", None),
        (b'{"value":1e39}', "InvalidRewardRequest", "value"),
        (b'{"value":-3.1e38}', "InvalidRewardRequest", "value"),
        (b'{"Value":1e300}', "InvalidRewardRequest", "value"),
        (b'{"value":' + b"9" * 400 + b"}", "BadRequest", None),
        (b'{"value":' + b"9" * 40 + b"}", "InvalidRewardRequest", "value"),
        (b'{"VALUE":' + b"[" * 300 + b"]" * 300 + b"}", "BadRequest", None),
    ],
)
def test_any_other_reward_is_refused(body: bytes, code: str, target: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        reward_request(body)

    assert (caught.value.code, caught.value.status, caught.value.target) == (code, 400, target)
    assert target is None or target in caught.value.message


@given(st.binary(max_size=60))
def test_any_bytes_get_a_request_or_a_refusal(body: bytes) -> None:
    for read in (rank_request, reward_request):
        try:
            read(body)
        except ApiError as e:
            assert e.status == 400


@given(st.floats(allow_nan=False, min_value=-3e38, max_value=3e38))
def test_a_reward_arrives_as_it_was_written(value: float) -> None:
    read = reward_request(orjson.dumps({"value": value}))

    assert read == value
    assert math.copysign(1, read) == math.copysign(1, value)
