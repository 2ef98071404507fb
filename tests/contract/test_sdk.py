"""The official Python SDK of API version v1.0 against the served loop, and what it cannot show in plain HTTP."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
from azure.cognitiveservices.personalizer import PersonalizerClient
from azure.cognitiveservices.personalizer.models import ErrorResponseException, RankableAction, RankRequest
from msrest.authentication import CognitiveServicesCredentials
from msrest.exceptions import HttpOperationError, ValidationError

from tests.contract.conftest import KEY, Deployment, Instance

COLOURS = ("red", "green", "blue", "white")
IDS = (
    "plain",
    "a/b",
    "/a//b/",
    "a%2Fb",
    "100%",
    "50%25",
    "why?",
    "why?a=b&c=d",
    "top#end",
    "with a space",
    " ",
    "+plus+",
    "x;y=z,w",
    "reward",
    "x/reward",
    "events/x/activate",
    "a\\b",
    "a:b@c",
    "it's (so)!*",
    "ключ-日本語-é-🙂",
    "u" * 256,
)
"""Event ids that a path can lose. `.` and `..` are not among them: HTTP clients remove such segments."""


@contextmanager
def sdk(endpoint: str, key: str = KEY) -> Iterator[Any]:
    connect: Any = PersonalizerClient  # its package has no types
    with connect(endpoint, CognitiveServicesCredentials(key)) as client:
        yield client


def actions(*names: str) -> list[RankableAction]:
    return [RankableAction(id=name, features=[{"name": name}]) for name in names or COLOURS]


def check_error(caught: Any, code: str, told: str) -> None:
    assert caught.error.error.code == code
    assert told in caught.error.error.message


@pytest.fixture(params=["kept", "decoded"])
def instance(served: Deployment, request: pytest.FixtureRequest) -> Instance:
    """Both ways of a host with %2F, and both ways to write an endpoint."""
    chosen: Instance = getattr(served, request.param)
    return chosen


@pytest.fixture(params=["", "/"], ids=["no slash", "slash"])
def client(instance: Instance, request: pytest.FixtureRequest) -> Iterator[Any]:
    with sdk(instance.endpoint + request.param) as made:
        yield made


def test_rank_makes_an_event_id(client: Any) -> None:
    answer = client.rank(RankRequest(actions=actions(), context_features=[{"mood": "good"}]))

    assert re.fullmatch(r"[0-9a-f]{32}-[0-9a-zA-Z]{5}", answer.event_id)
    assert {action.id for action in answer.ranking} == set(COLOURS)
    assert [action.probability for action in answer.ranking] == [0.25] * 4
    assert answer.reward_action_id == answer.ranking[0].id
    assert client.events.reward(event_id=answer.event_id, value=0.5) is None
    assert client.events.activate(event_id=answer.event_id) is None


def test_rank_without_context_and_with_everything(client: Any) -> None:
    bare = client.rank(RankRequest(actions=actions()))
    full = client.rank(
        RankRequest(
            actions=actions(),
            context_features=[{"mood": "good"}, {"place": {"name": "home"}}],
            excluded_actions=[],
            event_id="with-everything",
            defer_activation=True,
        )
    )

    assert len(bare.ranking) == len(full.ranking) == 4
    assert full.event_id == "with-everything"


def test_the_same_event_gets_the_same_answer(client: Any) -> None:
    request = RankRequest(actions=actions(), event_id="again")

    assert client.rank(request).as_dict() == client.rank(request).as_dict()


def test_excluded_actions_keep_their_place(client: Any) -> None:
    answer = client.rank(RankRequest(actions=actions(), excluded_actions=["red", "blue", "unknown"]))

    assert [answer.ranking[n].id for n in (0, 2)] == ["red", "blue"]
    assert [answer.ranking[n].probability for n in (0, 2)] == [0.0, 0.0]
    assert {answer.ranking[n].id for n in (1, 3)} == {"green", "white"}
    assert [answer.ranking[n].probability for n in (1, 3)] == [0.5, 0.5]
    assert answer.reward_action_id == answer.ranking[1].id


def test_unicode_ids_and_features(client: Any) -> None:
    names = ("ключ", "日本語", "é🙂")
    request = RankRequest(actions=actions(*names), context_features=[{"ключ": "日本語"}], event_id="событие-🙂")

    answer = client.rank(request)

    assert answer.event_id == "событие-🙂"
    assert {action.id for action in answer.ranking} == set(names)


def test_a_set_as_a_feature_value_is_a_string_on_the_wire(client: Any) -> None:
    request = RankRequest(actions=actions(), context_features=[{"diet": {"vegan", "vegetarian"}}])

    assert client.rank(request).reward_action_id in COLOURS


@pytest.mark.parametrize("event_id", IDS)
def test_event_ids_that_a_path_can_lose(client: Any, event_id: str) -> None:
    assert client.rank(RankRequest(actions=actions(), event_id=event_id)).event_id == event_id
    assert client.events.reward(event_id=event_id, value=1.0) is None
    assert client.events.activate(event_id=event_id) is None


def test_events_that_were_never_ranked_are_taken(client: Any) -> None:
    assert client.events.reward(event_id="never-ranked", value=-1.0) is None
    assert client.events.activate(event_id="never-ranked") is None


@pytest.mark.parametrize(
    ("request_", "code", "told"),
    [
        (RankRequest(actions=[]), "InvalidRankRequest", "1 to 50"),
        (RankRequest(actions=actions(*map(str, range(51)))), "InvalidRankRequest", "51"),
        (RankRequest(actions=actions("twice", "twice")), "InvalidRankRequest", "'twice'"),
        (RankRequest(actions=actions(), excluded_actions=list(COLOURS)), "InvalidRankRequest", "excludedActions"),
        (RankRequest(actions=actions(), event_id=""), "InvalidRankRequest", "eventId"),
        (RankRequest(actions=[RankableAction(id="x", features=[])]), "InvalidRankRequest", "actions[0]"),
        (RankRequest(actions=actions(), context_features=[{"tags": ["a", "b"]}]), "InvalidRankRequest", "tags"),
    ],
)
def test_a_bad_rank_call_is_refused_in_words(client: Any, request_: RankRequest, code: str, told: str) -> None:
    with pytest.raises(ErrorResponseException) as caught:
        client.rank(request_)

    assert caught.value.response.status_code == 400
    check_error(caught.value, code, told)


def test_a_bad_reward_is_refused(client: Any) -> None:
    with pytest.raises(HttpOperationError) as caught:
        client.events.reward(event_id="x", value=1e39)

    assert caught.value.response.status_code == 400
    assert caught.value.response.headers["x-ms-error-code"] == "InvalidRewardRequest"


def test_the_sdk_itself_refuses_long_ids(client: Any) -> None:
    with pytest.raises(ValidationError):
        client.events.reward(event_id="u" * 257, value=1.0)


def test_a_wrong_key_is_told(instance: Instance) -> None:
    with sdk(instance.endpoint, key="wrong") as client:
        with pytest.raises(ErrorResponseException) as ranked:
            client.rank(RankRequest(actions=actions()))
        with pytest.raises(HttpOperationError) as rewarded:
            client.events.reward(event_id="x", value=1.0)

    assert ranked.value.response.status_code == rewarded.value.response.status_code == 401
    check_error(ranked.value, "Unauthorized", "not one of this loop's keys")


def test_both_key_headers_and_none(instance: Instance) -> None:
    body = {"actions": [{"id": "a", "features": [{"x": 1}]}]}
    for header in ("Ocp-Apim-Subscription-Key", "ocp-apim-subscription-key", "apim-subscription-id"):
        assert instance.call("POST", "/personalizer/v1.0/rank", body, {header: KEY}).status == 201

    missing = instance.call("POST", "/personalizer/v1.0/rank", body, {})

    assert missing.status == 401
    assert "Ocp-Apim-Subscription-Key" in missing.json["error"]["message"]


def test_the_answer_on_the_wire(instance: Instance) -> None:
    body = {"actions": [{"id": "a/b", "features": [{"x": 1}]}], "eventId": "wire"}

    ranked = instance.call("POST", "/personalizer/v1.0/rank", body)
    rewarded = instance.call("POST", f"/personalizer/v1.0/events/{quote('wire/1', safe='')}/reward", {"value": 1})
    literal = instance.call("POST", "/personalizer/v1.0/events/wire/1/reward", {"value": 1})

    assert ranked.status == 201
    assert ranked.headers["Content-Type"].startswith("application/json")
    assert ranked.headers["csp-billing-usage"] == "CognitiveServices.Personalizer.Transaction=1"
    assert ranked.body == b'{"ranking":[{"id":"a/b","probability":1.0}],"eventId":"wire","rewardActionId":"a/b"}'
    assert (rewarded.status, rewarded.body) == (literal.status, literal.body) == (204, b"")


@pytest.mark.parametrize(("method", "name"), [("GET", "rank"), ("POST", "nothing"), ("POST", "events/x/forget")])
def test_what_is_not_there_says_so(instance: Instance, method: str, name: str) -> None:
    assert instance.call(method, f"/personalizer/v1.0/{name}").status == 404
