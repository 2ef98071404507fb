"""A report of a loop's health on a real Azurite, over HTTP: what is planted is named, and gone with an erasure."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.health.catalogue import ENOUGH
from tests.contract.conftest import Deployment, deployment
from tests.contract.conftest import Instance as Served
from tests.integration.served import wait_until

EVENTS = ENOUGH + 100
ACTIONS = [{"id": name, "features": [{"taste": taste}]} for name, taste in (("pasta", "salty"), ("cake", "sweet"))]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path) as made:
        yield made


def _settings(instance: Served) -> None:
    held = instance.call("GET", "/personalizer/v1.0/configurations/service").json
    quick = {**held, "rewardWaitTime": "PT5S", "modelExportFrequency": "PT5S"}
    assert instance.call("PUT", "/personalizer/v1.0/configurations/service", quick).status == 200


def _play(instance: Served, n: int) -> None:
    """An event with an id and a dead feature in its context, rewarded as chance will have it."""
    context = [{"session": f"session-{n}", "version": "1.2.3", "hour": n % 24}]
    body = {"eventId": f"event-{n}", "contextFeatures": context, "actions": ACTIONS}
    assert instance.call("POST", "/personalizer/v1.0/rank", body).status == 201
    reward = {"value": float(n % 3 == 0)}
    assert instance.call("POST", f"/personalizer/v1.0/events/event-{n}/reward", reward).status == 204


def _examined(instance: Served) -> int:
    told: Any = instance.health()["examined"]
    return told["events"] if told else 0


def test_what_is_wrong_with_features_is_told_by_name_and_forgotten_with_an_erasure(served: Deployment) -> None:
    instance = served.kept
    _settings(instance)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: _play(instance, n), range(EVENTS)))

    wait_until(lambda: _examined(instance) == EVENTS, "the log was not examined")
    told = instance.health()

    assert told["examined"]["of"] == EVENTS
    found = {(one["code"], one["what"].split("'")[1]) for one in told["findings"] if "'" in one["what"]}
    assert found == {("valuesAreIds", "context.session"), ("featureConstant", "context.version")}
    assert not {one["code"] for one in told["findings"]} & {"drawsOff", "rewardsMissing", "rewardsEqual", "modelStale"}
    assert "session-1" not in str(told)

    assert instance.call("DELETE", "/rankloop/v1/events/event-7").status == 202
    forgotten = instance.health()
    assert (forgotten["examined"]["events"], forgotten["findings"]) == (0, [])
    _play(instance, EVENTS)
    wait_until(lambda: _examined(instance) > 0, "the log was not examined again")
    assert _examined(instance) == EVENTS  # one is gone, one has come
