"""Every rule of contract 4.3 that can be held before features are looked at."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.errors import ApiError
from shared.contract.requests import (
    MultiSlotRankRequest,
    check_event_id,
    multi_slot_rank_request,
    multi_slot_reward_request,
    rank_request,
    reward_request,
)

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
        ({}, "actions"),
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
def test_a_wrong_type_is_a_bad_request(body: dict[str, Any], target: str) -> None:
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
        b'{"actions":[' + b"[" * 20_000 + b"]" * 20_000 + b"]}",
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
        (b"{}", "BadRequest", "value"),
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


@pytest.mark.parametrize(("value", "told"), [(1e39, "1e+39"), (-3.1e38, "-3.1e+38")])
def test_a_reward_beyond_the_limit_is_told_the_limit(value: float, told: str) -> None:
    with pytest.raises(ApiError, match=re.escape(f"value must be from -3e+38 to 3e+38; it is {told}.")):
        reward_request(orjson.dumps({"value": value}))


@given(st.binary(max_size=60))
def test_any_bytes_get_a_request_or_a_refusal(body: bytes) -> None:
    for read in (rank_request, reward_request, multi_slot_rank_request, multi_slot_reward_request):
        try:
            read(body)
        except ApiError as e:
            assert e.status == 400


@given(st.floats(allow_nan=False, min_value=-3e38, max_value=3e38))
def test_a_reward_arrives_as_it_was_written(value: float) -> None:
    read = reward_request(orjson.dumps({"value": value}))

    assert read == value
    assert math.copysign(1, read) == math.copysign(1, value)


# -- multi-slot -------------------------------------------------------------------------------------------------------


def slot(n: int, **members: Any) -> dict[str, Any]:
    return {"id": f"s{n}", "baselineAction": f"a{n}", **members}


def slots_request(count: int = 3, **members: Any) -> MultiSlotRankRequest:
    body = {"actions": [{**ACTION, "id": f"a{n}"} for n in range(count)], "slots": [slot(0), slot(1)], **members}
    return multi_slot_rank_request(orjson.dumps(body))


def slots_refusal(count: int = 3, **members: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        slots_request(count, **members)
    assert caught.value.status == 400
    return caught.value


def test_a_full_multi_slot_body_is_read() -> None:
    second = slot(1, features=[{"size": 1}], excludedActions=["a0"], positionFeatures=[1])
    request = slots_request(slots=[slot(0), second], contextFeatures=[{"t": 1}], eventId="e/1", deferActivation=True)

    assert [(s.id, s.baseline_action, s.excluded_actions) for s in request.slots] == [
        ("s0", "a0", None),
        ("s1", "a1", ["a0"]),
    ]
    assert [bytes(s.features) for s in request.slots] == [b"null", b'[{"size":1}]']
    assert len(request.actions) == 3
    assert (bytes(request.context_features), request.event_id, request.defer_activation) == (b'[{"t":1}]', "e/1", True)


def test_a_multi_slot_body_needs_actions_and_slots_alone() -> None:
    request = slots_request()

    assert (bytes(request.context_features), request.event_id, request.defer_activation) == (b"null", None, False)


@pytest.mark.parametrize(
    "body",
    [
        {"Actions": [ACTION, ACTION], "SLOTS": [slot(0), slot(1)], "EVENTID": "e"},
        {"actions": [ACTION, ACTION], "slots": [slot(0), slot(1)], "eventId": "e", "excludedActions": ["a0"]},
        {"actions": [ACTION, ACTION], "slots": [], "Slots": [slot(0), slot(1)], "eventId": "e"},
    ],
    ids=["case", "unknown", "two spellings, the last counts"],
)
def test_unusual_member_names_of_a_multi_slot_body_are_taken(body: dict[str, Any]) -> None:
    request = multi_slot_rank_request(orjson.dumps(body))

    assert [s.id for s in request.slots] == ["s0", "s1"]
    assert (len(request.actions), request.event_id) == (2, "e")


def test_members_of_a_slot_are_taken_in_any_case() -> None:
    (read,) = slots_request(slots=[{"id": "s", "baselineAction": "a0", "ExcludedActions": ["a1"]}]).slots

    assert read.excluded_actions == ["a1"]


@pytest.mark.parametrize(("actions", "slots"), [(1, 1), (50, 1), (50, 50), (3, 3)])
def test_slots_are_as_many_as_actions_at_most(actions: int, slots: int) -> None:
    assert len(slots_request(actions, slots=[slot(n) for n in range(slots)]).slots) == slots


@pytest.mark.parametrize(
    ("actions", "members", "target", "problem"),
    [
        (0, {}, "actions", "1 to 50 actions; it holds 0"),
        (51, {}, "actions", "1 to 50 actions; it holds 51"),
        (3, {"slots": []}, "slots", "1 to 3 slots, no more than there are actions; it holds 0"),
        (1, {}, "slots", "1 to 1 slots"),
        (50, {"slots": [slot(n) for n in range(51)]}, "slots", "1 to 50 slots"),
        (3, {"slots": [slot(0, id="")]}, "slots[0].id", "it has 0"),
        (3, {"slots": [slot(0), slot(1, id="x" * 257)]}, "slots[1].id", "it has 257"),
        (3, {"slots": [slot(0, id="s"), slot(1), slot(2, id="s")]}, "slots[2].id", "'s' is"),
        (3, {"slots": [slot(0), slot(1, baselineAction="a0")]}, "slots[1].baselineAction", "'a0' is"),
        (3, {"eventId": ""}, "eventId", "it has 0"),
        (3, {"eventId": "x" * 257}, "eventId", "it has 257"),
    ],
)
def test_a_broken_rule_of_slots_is_an_invalid_rank_request(
    actions: int, members: dict[str, Any], target: str, problem: str
) -> None:
    error = slots_refusal(actions, **members)

    assert (error.code, error.target) == ("InvalidRankRequest", target)
    assert error.message.startswith(target)
    assert problem in error.message


@pytest.mark.parametrize(
    ("members", "target"),
    [
        ({"slots": None}, "slots"),
        ({"slots": {}}, "slots"),
        ({"slots": [None]}, "slots[0]"),
        ({"slots": [slot(0), 1]}, "slots[1]"),
        ({"slots": [{"id": "s"}]}, "slots[0].baselineAction"),
        ({"slots": [{"baselineAction": "a0"}]}, "slots[0].id"),
        ({"slots": [slot(0, id=None)]}, "slots[0].id"),
        ({"slots": [slot(0, id=1)]}, "slots[0].id"),
        ({"slots": [slot(0, baselineAction=None)]}, "slots[0].baselineAction"),
        ({"slots": [slot(0, excludedActions="a0")]}, "slots[0].excludedActions"),
        ({"slots": [slot(0, excludedActions=[None])]}, "slots[0].excludedActions[0]"),
        ({"actions": None}, "actions"),
        ({"eventId": 1}, "eventId"),
        ({"deferActivation": "true"}, "deferActivation"),
    ],
)
def test_a_wrong_type_in_a_multi_slot_body_is_a_bad_request(members: dict[str, Any], target: str) -> None:
    error = slots_refusal(**members)

    assert (error.code, error.target) == ("BadRequest", target)


def test_a_single_slot_body_is_no_multi_slot_one() -> None:
    with pytest.raises(ApiError) as caught:
        multi_slot_rank_request(orjson.dumps({"actions": [ACTION]}))

    assert (caught.value.code, caught.value.target) == ("BadRequest", "slots")
    assert caught.value.message == "slots is required."


@pytest.mark.parametrize(
    ("body", "rewards"),
    [
        (b'{"reward":[{"slotId":"a","value":1},{"slotId":"b","value":-0.5}]}', [("a", 1.0), ("b", -0.5)]),
        (b'{"reward":[{"slotId":"a","value":1},{"slotId":"a","value":2}]}', [("a", 1.0), ("a", 2.0)]),
        (b'{"reward":[]}', []),
        (b'{"Reward":[{"slotId":"a","value":3e38,"more":1}],"more":1}', [("a", 3e38)]),
        (orjson.dumps({"reward": [{"slotId": "x" * 256, "value": 0}] * 50}), [("x" * 256, 0.0)] * 50),
    ],
)
def test_rewards_of_slots_are_read_in_their_order(body: bytes, rewards: list[tuple[str, float]]) -> None:
    assert multi_slot_reward_request(body) == rewards


def test_no_more_slots_are_rewarded_than_an_event_may_have() -> None:
    with pytest.raises(ApiError) as caught:
        multi_slot_reward_request(orjson.dumps({"reward": [{"slotId": "a", "value": 1}] * 51}))

    assert (caught.value.code, caught.value.target) == ("InvalidRewardRequest", "reward")


@pytest.mark.parametrize(
    ("body", "code", "target"),
    [
        (b"", "BadRequest", None),
        (b"[]", "BadRequest", None),
        (b"{}", "BadRequest", "reward"),
        (b'{"value":1}', "BadRequest", "reward"),
        (b'{"reward":1}', "BadRequest", "reward"),
        (b'{"reward":null}', "BadRequest", "reward"),
        (b'{"reward":[null]}', "BadRequest", "reward[0]"),
        (b'{"reward":[{"slotId":"a"}]}', "BadRequest", "reward[0].value"),
        (b'{"reward":[{"value":1}]}', "BadRequest", "reward[0].slotId"),
        (b'{"reward":[{"slotId":"","value":1}]}', "BadRequest", "reward[0].slotId"),
        (orjson.dumps({"reward": [{"slotId": "x" * 257, "value": 1}]}), "BadRequest", "reward[0].slotId"),
        (b'{"reward":[{"slotId":1,"value":1}]}', "BadRequest", "reward[0].slotId"),
        (b'{"reward":[{"slotId":"a","value":"1"}]}', "BadRequest", "reward[0].value"),
        (
            b'{"reward":[{"slotId":"a","value":1},{"slotId":"b","value":1e39}]}',
            "InvalidRewardRequest",
            "reward[1].value",
        ),
        (b'{"reward":[{"slotId":"a","value":1e400}]}', "BadRequest", None),
        (b'{"reward":[{"slotId":"\\ud800","value":1}]}', "BadRequest", None),
    ],
)
def test_any_other_rewards_of_slots_are_refused(body: bytes, code: str, target: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        multi_slot_reward_request(body)

    assert (caught.value.code, caught.value.status, caught.value.target) == (code, 400, target)
