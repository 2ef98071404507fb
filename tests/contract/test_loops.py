"""Loops made and deleted at run time: the SDKs reach each by its endpoint alone, and nothing of one reaches another."""

import json
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from azure.cognitiveservices.personalizer.models import ErrorResponseException, RankRequest
from msrest.exceptions import HttpOperationError

from tests.contract.conftest import KEY, Answer, Deployment, Instance, wait_until
from tests.contract.loops import Loop, make_loop
from tests.contract.swagger import Got, Sent
from tests.contract.test_sdk import IDS, actions, sdk

LOOPS = "/rankloop/v1/loops"
ACTIONS = [{"id": name, "features": [{"taste": name}]} for name in ("sweet", "sour")]
UNSET = "0001-01-01T00:00:00"
ROOT = "/personalizer/v1.1-preview.3"
OPERATIONS = [
    ("POST", f"{ROOT}/rank", {"actions": ACTIONS}),
    ("POST", f"{ROOT}/events/event-0/reward", {"value": 1}),
    ("POST", f"{ROOT}/events/event-0/activate", None),
    ("GET", f"{ROOT}/configurations/service", None),
    ("PUT", f"{ROOT}/configurations/service", {}),
    ("GET", f"{ROOT}/configurations/policy", None),
    ("DELETE", f"{ROOT}/configurations/policy", None),
    ("GET", f"{ROOT}/model", None),
    ("DELETE", f"{ROOT}/model", None),
    ("GET", f"{ROOT}/model/properties", None),
    ("DELETE", f"{ROOT}/logs", None),
    ("GET", f"{ROOT}/logs/properties", None),
    ("GET", f"{ROOT}/evaluations", None),
    ("GET", "/rankloop/v1/health", None),
]


class Made(NamedTuple):
    """A loop that was made by name, with both of its keys."""

    name: str
    id: str
    endpoint: str
    keys: dict[str, str]

    @property
    def path(self) -> str:
        return f"/loops/{self.name}"


def new_name() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


def make(instance: Instance, name: str | None = None) -> Made:
    answer = instance.call("POST", LOOPS, {"name": name or new_name()})
    assert answer.status == 201, answer.body
    return Made(**answer.json)


def listed(instance: Instance) -> dict[str, str]:
    """The ids of the loops by name."""
    answer = instance.call("GET", LOOPS)
    assert answer.status == 200
    return {loop["name"]: loop["id"] for loop in answer.json["value"]}


def code(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.headers["x-ms-error-code"]


# -- the life of a loop -----------------------------------------------------------------------------------------------


def test_a_loop_is_made_listed_and_deleted(served: Deployment) -> None:
    loop = make(served.kept)

    assert listed(served.kept)[loop.name] == listed(served.decoded)[loop.name] == loop.id
    assert loop.endpoint == served.kept.endpoint + loop.path
    assert set(loop.keys) == {"key1", "key2"}
    health = served.kept.call("GET", f"{loop.path}/rankloop/v1/health", key=loop.keys["key2"]).json
    assert (health["loopId"], health["joinedEvents"], health["modelVersion"]) == (loop.id, 0, None)

    assert served.kept.call("DELETE", f"{LOOPS}/{loop.name}").status == 204

    assert loop.name not in listed(served.kept)
    assert loop.name not in listed(served.decoded)
    path = f"{loop.path}{ROOT}/configurations/service"
    assert code(served.kept.call("GET", path)) == (404, "FrontEndNotFound")
    assert code(served.kept.call("GET", path, key=loop.keys["key1"])) == (401, "Unauthorized")
    assert code(served.kept.call("DELETE", f"{LOOPS}/{loop.name}")) == (404, "FrontEndNotFound")


def test_every_instance_serves_a_loop_and_ceases_to_within_seconds(served: Deployment) -> None:
    loop = make(served.kept)
    path = f"{loop.path}{ROOT}/configurations/service"
    key = loop.keys["key1"]

    wait_until(lambda: served.decoded.call("GET", path, key=key).status == 200)
    assert served.kept.call("DELETE", f"{LOOPS}/{loop.name}").status == 204
    wait_until(lambda: served.decoded.call("GET", path, key=key).status == 401)


@pytest.mark.parametrize("name", ["", "A", "a_b", "a/b", "../a", "-a", "x" * 64, "é", None, 1])
def test_a_name_that_is_none_is_refused(served: Deployment, name: object) -> None:
    answer = served.kept.call("POST", LOOPS, {"name": name})

    assert answer.status == 400
    assert answer.json["error"]["target"] == "name"


def test_a_name_is_given_once(served: Deployment) -> None:
    loop = make(served.kept)

    for instance, name in ((served.kept, loop.name), (served.decoded, loop.name), (served.kept, "default")):
        assert code(instance.call("POST", LOOPS, {"name": name})) == (409, "LoopAlreadyExists")


def test_the_default_loop_stays(served: Deployment) -> None:
    assert code(served.kept.call("DELETE", f"{LOOPS}/default")) == (400, "InvalidRequest")
    assert served.kept.call("GET", f"/loops/default{ROOT}/configurations/policy").status == 200


def test_a_loop_that_takes_the_name_of_a_deleted_one_is_empty(served: Deployment) -> None:
    first = make(served.kept)
    key, path = first.keys["key1"], first.path
    held = served.kept.call("GET", f"{path}{ROOT}/configurations/service", key=key).json
    changed = {**held, "defaultReward": 0.5, "rewardWaitTime": "PT5S", "modelExportFrequency": "PT5S"}
    assert served.kept.call("PUT", f"{path}{ROOT}/configurations/service", changed, key=key).status == 200
    policy = {"name": "mine", "arguments": "--cb_explore_adf --epsilon 0.7"}
    assert served.kept.call("PUT", f"{path}{ROOT}/configurations/policy", policy, key=key).status == 200
    for n in range(5):
        body = {"actions": ACTIONS, "eventId": f"event-{n}"}
        assert served.kept.call("POST", f"{path}{ROOT}/rank", body, key=key).status == 201
    wait_until(lambda: bool(served.kept.call("GET", f"{path}/rankloop/v1/health", key=key).json["joinedEvents"] == 5))

    assert served.kept.call("DELETE", f"{LOOPS}/{first.name}").status == 204
    second = make(served.kept, first.name)

    assert second.id != first.id
    for old in first.keys.values():
        assert served.kept.call("GET", f"{path}/rankloop/v1/health", key=old).status == 401
    key = second.keys["key1"]
    health = served.kept.call("GET", f"{path}/rankloop/v1/health", key=key).json
    assert (health["loopId"], health["joinedEvents"], health["modelVersion"]) == (second.id, 0, None)
    told = served.kept.call("GET", f"{path}{ROOT}/configurations/service", key=key).json
    assert {**told, "autoOptimizationStartDate": None} == {**held, "autoOptimizationStartDate": None}
    policy = served.kept.call("GET", f"{path}{ROOT}/configurations/policy", key=key).json
    assert (policy["name"], "--epsilon 0.2 " in policy["arguments"]) == (second.id, True)
    assert served.kept.call("GET", f"{path}{ROOT}/logs/properties", key=key).json == {}
    assert code(served.kept.call("GET", f"{path}{ROOT}/model", key=key)) == (404, "ResourceNotFound")
    # The other instance may have served the first one until now.
    health_path = f"{path}/rankloop/v1/health"
    wait_until(lambda: served.decoded.call("GET", health_path, key=key).status == 200)
    assert served.decoded.call("GET", health_path, key=first.keys["key1"]).status == 401


# -- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_replaced_while_the_other_goes_on(served: Deployment) -> None:
    loop = make(served.kept)
    path = f"{loop.path}/rankloop/v1/health"
    wait_until(lambda: served.decoded.call("GET", path, key=loop.keys["key1"]).status == 200)

    new = served.kept.call("POST", f"{loop.path}/rankloop/v1/keys/key1").json["key"]

    assert served.kept.call("GET", path, key=loop.keys["key1"]).status == 401
    assert served.kept.call("GET", path, key=new).status == 200
    wait_until(lambda: served.decoded.call("GET", path, key=loop.keys["key1"]).status == 401)
    for instance in (served.kept, served.decoded):
        assert instance.call("GET", path, key=new).status == 200
        assert instance.call("GET", path, key=loop.keys["key2"]).status == 200
        with sdk(instance.endpoint + loop.path, new) as client:
            assert client.rank(RankRequest(actions=actions())).reward_action_id
        with (
            sdk(instance.endpoint + loop.path, loop.keys["key1"]) as client,
            pytest.raises(ErrorResponseException) as e,
        ):
            client.rank(RankRequest(actions=actions()))
        assert e.value.response.status_code == 401


def test_a_loops_key_reaches_neither_the_loops_nor_its_own_replacement(served: Deployment) -> None:
    loop = make(served.kept)
    calls: list[tuple[str, str, Any]] = [
        ("GET", LOOPS, None),
        ("POST", LOOPS, {"name": new_name()}),
        ("DELETE", f"{LOOPS}/{loop.name}", None),
        ("POST", "/rankloop/v1/keys/key1", None),
        ("POST", "/rankloop/v1/keys/key2", None),
    ]

    for method, path, body in calls:
        own = served.kept.call(method, loop.path + path, body, key=loop.keys["key1"])
        assert code(own) == (403, "Forbidden")
        root = served.kept.call(method, path, body, key=loop.keys["key1"])
        assert code(root) == (401, "Unauthorized")
    assert listed(served.kept)[loop.name] == loop.id


def test_a_loop_that_is_not_there_is_told_to_the_owner_alone(served: Deployment) -> None:
    key = make(served.kept).keys["key1"]
    path = f"/loops/{new_name()}{ROOT}/configurations/policy"

    assert code(served.kept.call("GET", path)) == (404, "FrontEndNotFound")
    for other in (key, "wrong", ""):
        assert code(served.kept.call("GET", path, key=other)) == (401, "Unauthorized")


# -- the SDK ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def named(served: Deployment) -> Made:
    """A loop that both instances know."""
    loop = make(served.kept)
    path = f"{loop.path}/rankloop/v1/health"
    wait_until(lambda: served.decoded.call("GET", path, key=loop.keys["key1"]).status == 200)
    return loop


@pytest.fixture(params=["kept", "decoded"])
def instance(served: Deployment, request: pytest.FixtureRequest) -> Instance:
    """Both ways of a host with %2F."""
    chosen: Instance = getattr(served, request.param)
    return chosen


@pytest.fixture(params=["", "/"], ids=["no slash", "slash"])
def client(instance: Instance, named: Made, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The SDK, which is given the loop's endpoint and key as it was the resource's."""
    with sdk(instance.endpoint + named.path + request.param, named.keys["key1"]) as made:
        yield made


def test_the_sdk_reaches_a_loop_by_its_endpoint(client: Any) -> None:
    answer = client.rank(RankRequest(actions=actions(), context_features=[{"mood": "good"}]))

    assert answer.reward_action_id == answer.ranking[0].id
    assert client.events.reward(event_id=answer.event_id, value=0.5) is None
    assert client.events.activate(event_id=answer.event_id) is None


@pytest.mark.parametrize("event_id", IDS)
def test_event_ids_that_a_path_can_lose_reach_a_loop(client: Any, event_id: str) -> None:
    assert client.rank(RankRequest(actions=actions(), event_id=event_id)).event_id == event_id
    assert client.events.reward(event_id=event_id, value=1.0) is None
    assert client.events.activate(event_id=event_id) is None


def test_the_sdk_is_refused_with_another_loops_key(served: Deployment, instance: Instance, named: Made) -> None:
    other = make(served.kept)
    with sdk(instance.endpoint + named.path, other.keys["key1"]) as client:
        with pytest.raises(ErrorResponseException) as ranked:
            client.rank(RankRequest(actions=actions()))
        with pytest.raises(HttpOperationError) as rewarded:
            client.events.reward(event_id="x", value=1.0)

    assert ranked.value.response.status_code == rewarded.value.response.status_code == 401
    with sdk(instance.endpoint + named.path, KEY) as owner:
        assert owner.rank(RankRequest(actions=actions())).reward_action_id


def test_the_same_event_is_drawn_anew_in_each_loop(served: Deployment, named: Made) -> None:
    other = make(served.kept)

    chosen = []
    for loop in (named, other):
        with sdk(served.kept.endpoint + loop.path, loop.keys["key1"]) as client:
            requests = [RankRequest(actions=actions(), event_id=f"drawn-{n}") for n in range(40)]
            chosen.append([client.rank(request).reward_action_id for request in requests])

    assert chosen[0] != chosen[1]


# -- isolation --------------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """Two loops that were called with the same event ids and actions, and rewarded for opposite choices."""

    sweet: Loop
    sour: Loop

    def health(self, loop: Loop) -> Any:
        got = loop.send(Sent("GET", "/rankloop/v1/health", None, {}))
        assert got.status == 200
        return json.loads(got.body)


EVENTS = 40
QUICK = "--cb_explore_adf --epsilon 0.2 -l 0.5 --power_t 0 --cb_type mtr"


def pay(loop: Loop, taste: str) -> None:
    """Rank the events, and reward those whose choice is of the taste."""
    for n in range(EVENTS):
        body = {"actions": ACTIONS, "eventId": f"event-{n}"}
        chosen = loop.call("POST", "rank", body)["rewardActionId"]
        loop.call("POST", f"events/event-{n}/reward", {"value": float(chosen == taste)})


@pytest.fixture(scope="module")
def pair(served: Deployment) -> Pair:
    """What became of them when both have learned."""
    both = Pair(make_loop(served), make_loop(served))
    for loop in both:
        loop.configure(rewardWaitTime="PT15S", modelExportFrequency="PT5S")
        loop.call("PUT", "configurations/policy", {"name": "quick", "arguments": QUICK})
    pay(both.sweet, "sweet")
    for n in range(5):  # ranked by the one, rewarded at the other
        both.sour.call("POST", "rank", {"actions": ACTIONS, "eventId": f"only-{n}"})
        both.sweet.call("POST", f"events/only-{n}/reward", {"value": 1})
        both.sweet.call("POST", f"events/only-{n}/activate")
    both.sour.call("POST", "rank", {"actions": ACTIONS, "eventId": "deferred", "deferActivation": True})
    both.sweet.call("POST", "events/deferred/activate")
    pay(both.sour, "sour")
    for loop, events in ((both.sweet, EVENTS), (both.sour, EVENTS + 5)):
        wait_until(lambda loop=loop, events=events: both.health(loop)["modelEvents"] == events)  # type: ignore[misc]
    return both


def test_events_are_joined_with_their_own_loops_rewards(pair: Pair) -> None:
    sweet, sour = pair.health(pair.sweet), pair.health(pair.sour)

    assert (sweet["joinedEvents"], sweet["rewardedEvents"], sweet["inactiveEvents"]) == (EVENTS, EVENTS, 0)
    assert (sour["joinedEvents"], sour["rewardedEvents"], sour["inactiveEvents"]) == (EVENTS + 6, EVENTS, 1)
    assert sweet["repeatedEvents"] == sour["repeatedEvents"] == 0
    assert sweet["loopId"] != sour["loopId"]


def test_each_loop_learns_from_its_own_rewards(pair: Pair) -> None:
    def probabilities(loop: Loop) -> dict[str, float]:
        ranking = loop.call("POST", "rank", {"actions": ACTIONS, "eventId": "learned"})["ranking"]
        return {entry["id"]: entry["probability"] for entry in ranking}

    best = pytest.approx(0.9)
    wait_until(lambda: probabilities(pair.sweet)["sweet"] == best and probabilities(pair.sour)["sour"] == best)
    assert pair.sweet.call("GET", "model") != pair.sour.call("GET", "model")


def test_keys_open_no_operation_of_the_other_loop(pair: Pair) -> None:
    for loop, other in ((pair.sweet, pair.sour), (pair.sour, pair.sweet)):
        for method, path, body in OPERATIONS:
            sent = Sent(method, path, None if body is None else json.dumps(body).encode(), {})
            got: Got = loop.send(sent, other.key)
            assert (got.status, got.headers["x-ms-error-code"]) == (401, "Unauthorized"), path


def test_settings_and_policy_of_one_loop_are_not_the_others(pair: Pair) -> None:
    before = pair.sour.call("GET", "configurations/service"), pair.sour.call("GET", "configurations/policy")

    pair.sweet.configure(defaultReward=0.5, rewardAggregation="sum", logRetentionDays=30)
    pair.sweet.call("PUT", "configurations/policy", {"name": "x", "arguments": "--cb_explore_adf --epsilon 0.7"})

    assert (pair.sour.call("GET", "configurations/service"), pair.sour.call("GET", "configurations/policy")) == before
    assert pair.sweet.call("GET", "configurations/service")["explorationPercentage"] == 0.7
    pair.sweet.call("PUT", "configurations/policy", {"name": "quick", "arguments": QUICK})


def test_actions_of_one_request_are_not_remembered_for_another_loop(pair: Pair) -> None:
    # Sanitised actions are cached by their bytes, whoever sends them.
    for loop, left in ((pair.sweet, "sour"), (pair.sour, "sweet"), (pair.sweet, "sweet")):
        excluded = [action["id"] for action in ACTIONS if action["id"] != left]
        answer = loop.call("POST", "rank", {"actions": ACTIONS, "excludedActions": excluded, "eventId": "x"})
        assert answer["rewardActionId"] == left


# This one comes last, since it takes away what the others look at.
def test_deleting_what_one_loop_knows_leaves_the_other(pair: Pair) -> None:
    model, log = pair.sour.call("GET", "model"), pair.sour.call("GET", "logs/properties")
    assert log

    pair.sweet.call("DELETE", "model")
    pair.sweet.call("DELETE", "logs")

    assert pair.sweet.call("GET", "model/properties")["creationTime"].startswith(UNSET)
    assert pair.sweet.call("GET", "logs/properties") == {}
    assert (pair.sour.call("GET", "model"), pair.sour.call("GET", "logs/properties")) == (model, log)
