"""Versions that an operator owns, on a real Azurite and over HTTP, with two instances of one deployment."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from localhost.azurite import Azurite
from tests.integration.served import ROOT, Served, wait_until

KEY = "a key of the deployment"
HEADERS = {"Ocp-Apim-Subscription-Key": KEY, "Content-Type": "application/json"}
QUICK = "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.1 --cb_type mtr -q ::"
FRESH = 5.0
"""Seconds after which what was answered holds for every call."""


class Pair:
    """Two instances of one deployment."""

    def __init__(self, storage: str) -> None:
        settings = {
            "RANKLOOP_STORAGE": storage,
            "RANKLOOP_KEY": KEY,
            "RANKLOOP_JOIN_SCHEDULE": "*/1 * * * * *",
            "RANKLOOP_TRAIN_SCHEDULE": "*/1 * * * * *",
            "RANKLOOP_LOG_DEADLINE_MS": "3500",
            "RANKLOOP_REWARD_DEADLINE_MS": "3500",
        }
        self.both = [Served(Path(ROOT), env=settings) for _ in range(2)]
        self.chance = random.Random(1)
        self.sent = 0

    def call(self, method: str, path: str, body: Any = None, of: int = 0) -> Any:
        data = orjson.dumps(body) if body is not None else b"" if method in ("PUT", "POST") else None
        answer = self.both[of].request(method, f"/{path}", data, HEADERS)
        assert answer.status < 300, (path, answer.status, answer.body)
        return orjson.loads(answer.body) if answer.body else None

    def rank(self, of: int) -> str:
        """Rank once, and reward what is right; returns the event's id."""
        self.sent += 1
        event, right = f"e{self.sent}", self.chance.randrange(3)
        actions = [{"id": f"a{n}", "features": [{"topic": f"t{n}"}]} for n in range(3)]
        body = {"eventId": event, "contextFeatures": [{"likes": f"t{right}"}], "actions": actions}
        chosen = self.call("POST", "personalizer/v1.0/rank", body, of)["rewardActionId"]
        reward = {"value": float(chosen == f"a{right}")}
        self.call("POST", f"personalizer/v1.0/events/{event}/reward", reward, of)
        return event

    def story(self, event: str, of: int = 0) -> Any:
        (told,) = self.call("GET", f"rankloop/v1/events/{event}", of=of)["events"]
        return told

    def versions(self) -> list[Any]:
        told: list[Any] = self.call("GET", "rankloop/v1/versions")["value"]
        return told

    def learn(self, versions: int) -> None:
        """Rank and reward until there are so many versions more."""
        wanted = len(self.versions()) + versions

        def made() -> bool:
            for n in range(6):
                self.rank(n % 2)
            return len(self.versions()) >= wanted

        wait_until(made, f"{versions} versions were not made")

    def ranked_by(self) -> list[tuple[str | None, bool]]:
        """The version by which each instance ranks now, and whether the decision is computed again byte for byte."""
        told = [self.story(self.rank(of), 1 - of) for of in range(2)]
        return [(one["ranked"]["modelVersion"], one["replay"]["same"]) for one in told]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Azurite() as azurite:
        made = Pair(azurite.connection_string)
        try:
            held = made.call("GET", "personalizer/v1.0/configurations/service")
            held |= {"rewardWaitTime": "PT5S", "modelExportFrequency": "PT5S"}
            made.call("PUT", "personalizer/v1.0/configurations/service", held)
            made.call("PUT", "personalizer/v1.0/configurations/policy", {"name": "quick", "arguments": QUICK})
            time.sleep(FRESH)
            yield made
        finally:
            for instance in made.both:
                instance.stop()


def test_a_rollback_is_served_by_every_instance_and_outlives_the_exports_behind_it(pair: Pair) -> None:
    pair.learn(3)
    old = pair.versions()[-1]["version"]
    assert pair.call("POST", f"rankloop/v1/versions/{old}/rollback", of=0)["pinned"]
    time.sleep(FRESH)

    assert pair.ranked_by() == [(old, True)] * 2
    pair.learn(2)
    assert pair.ranked_by() == [(old, True)] * 2, "the exports behind it do not undo it"
    newest = pair.versions()[0]
    assert (newest["serves"], newest["learns"], newest["heldBack"]) == (False, True, None)
    difference = pair.call("GET", f"rankloop/v1/versions/{newest['version']}/diff?with={old}", of=1)
    assert difference["events"] > 0
    assert difference["weights"]["differ"] > 0
    assert pair.call("GET", "rankloop/v1/health", of=1)["modelPinned"]

    pair.call("DELETE", "rankloop/v1/pin", of=1)
    time.sleep(FRESH)
    by = pair.ranked_by()
    assert old not in [version for version, _ in by]
    assert all(same for _, same in by)


def test_a_new_policy_waits_while_a_version_is_pinned(pair: Pair) -> None:
    pair.learn(1)
    pinned = pair.call("PUT", "rankloop/v1/pin")["version"]
    other = QUICK.replace("0.1", "0.05")
    pair.call("PUT", "personalizer/v1.0/configurations/policy", {"name": "other", "arguments": other})

    def waits() -> bool:
        pair.rank(0)
        return any("--learning_rate 0.05" in one["policy"] for one in pair.versions())

    wait_until(waits, "the new policy has no version")
    pair.rank(1)  # which was not called since, and then looks for another model
    time.sleep(FRESH)
    assert pair.ranked_by() == [(pinned, True)] * 2
    pair.call("DELETE", "rankloop/v1/pin?learn=newest")
    time.sleep(FRESH)
    (serving,) = [one for one in pair.versions() if one["serves"]]
    assert "--learning_rate 0.05" in serving["policy"]
