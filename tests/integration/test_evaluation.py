"""Coffee's second act, as its user sees it: a log, an evaluation that looks for better policies, one of them applied.

The evaluation's pieces go through the queue to three instances, of which one is killed on the way.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any, NamedTuple

import pytest

from bench.learning.course import STEP, Course
from bench.learning.tutorials import tutorial
from demo.coffee import COFFEE
from localhost.azurite import Azurite
from shared.contract import instants
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.buckets import iso
from shared.log.checkpoint import Checkpoint
from shared.log.joined import Window
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.storage.azure import AzureStorage
from tests.contract.conftest import Instance, wait_until

EVENTS, NEXT = 10_000, 2_000
WINDOWS = 10
PATIENCE = 600.0
NEW = "api-version=2022-09-01-preview"
MINE = {"name": "as it was", "arguments": DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]}
_TIME = re.compile(rb'"Timestamp":"[^"]+"')


class Served(NamedTuple):
    """Instances over one storage, and the log of its default loop.

    Attributes:
        start, end: of the log, in seconds since the epoch.
        earned: its mean reward.
    """

    instances: list[Instance]
    storage: str
    start: int
    end: int
    earned: float

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call an operation that must succeed; returns the JSON of its answer, if it has any."""
        got = self.instances[0].call(method, path, body)
        assert got.status < 300, got.body
        return json.loads(got.body) if got.body else None

    @property
    def span(self) -> dict[str, str]:
        return {"startTime": instants.spell(self.start), "endTime": instants.spell(self.end)}


def played(loop_id: str) -> tuple[list[bytes], float]:
    """The joined lines of the coffee tutorial as a new loop plays it, and what it earned."""
    course, situations = Course(MINE["arguments"], "coffee", loop_id=loop_id), tutorial(COFFEE)(random.Random(1))
    lines, rewards = list[bytes](), list[float]()
    for _ in range(EVENTS // STEP):
        rewards += [taken.reward for taken in course.play(islice(situations, STEP))]
        lines += course.learned
    course.close()
    return lines, sum(rewards) / EVENTS


async def store(storage: str, loop_id: str, lines: list[bytes], start: int) -> int:
    """Put lines into the log from a time on, ten a second; returns where it ends."""
    count = len(lines) // WINDOWS
    async with AzureStorage(storage) as opened:
        for n in range(WINDOWS):
            window = Window(start + n * count // 10, start + (n + 1) * count // 10)
            timed = [
                _TIME.sub(f'"Timestamp":"{iso(window.start + at / 10)}"'.encode(), line)
                for at, line in enumerate(lines[n * count : (n + 1) * count])
            ]
            assert await joined.write(opened.blobs, loop_id, window, joined.DSJSON, timed)
        await checkpoints.save(opened.blobs, loop_id, Checkpoint(watermark=window.end), None)
    return window.end


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("evaluated")
    with Azurite() as azurite, ExitStack() as stack:
        instances = []
        for n in range(3):
            instances.append(Instance(azurite.connection_string, folder / str(n)))
            stack.callback(_end, instances[-1])
        loop_id = json.loads(instances[0].call("GET", "/personalizer/v1.0/configurations/policy").body)["name"]
        lines, earned = played(loop_id)
        start = (int(time.time()) - 7200) // 3600 * 3600
        end = asyncio.run(store(azurite.connection_string, loop_id, lines, start))
        yield Served(instances, azurite.connection_string, start, end, earned)


def _end(instance: Instance) -> None:
    instance.process.kill()
    instance.process.wait()


def test_coffees_second_act(served: Served, tell: Callable[[str], None]) -> None:
    began = time.monotonic()
    body = {"name": "second act", **served.span, "policies": [MINE], "enablePolicyOptimization": True}
    assert served.call("PUT", f"/personalizer/evaluations/second%20act?{NEW}", body) is None
    (listed,) = served.call("GET", f"/personalizer/evaluations?{NEW}")["value"]
    assert (listed["id"], listed["status"]) == ("second act", "Running")
    report = served.call("GET", "/rankloop/v1/evaluations/second%20act")

    def job() -> Any:
        return served.call("GET", f"/rankloop/v1/jobs/{report['jobId']}")

    wait_until(lambda: job()["piecesDone"] >= 3, PATIENCE)
    served.instances[2].process.kill()  # perhaps in the middle of a piece
    wait_until(lambda: job()["status"] != "Running", PATIENCE)
    assert job()["status"] == "Succeeded", job()
    assert job()["piecesDone"] == job()["pieces"]
    assert job()["events"] == EVENTS
    wait_until(lambda: served.call("GET", "/rankloop/v1/evaluations/second%20act")["status"] != "Running")

    report = served.call("GET", "/rankloop/v1/evaluations/second%20act")
    judged = {one["name"]: one["slots"][0]["judged"] for one in report["policies"]}
    best = report["optimalPolicy"]
    took = time.monotonic() - began
    content = served.call(
        "GET", f"/personalizer/evaluations/second%20act?{NEW}&startTime=2000-01-01&endTime=2100-01-01"
    )["content"]["value"]
    online = next(one for one in content if one["name"] == "online")
    assert online["summary"]["expectedReward"] == pytest.approx(served.earned, abs=1e-6)
    again = next(one for one in content if one["name"] == MINE["name"])
    assert again["summary"]["expectedReward"] == pytest.approx(served.earned, abs=0.05), "the same policy, replayed"
    assert next(one for one in content if one["name"] == best)["policySource"] == "OfflineExperimentation"
    assert judged[best]["trusted"]
    assert judged[best]["snips"]["low"] > judged["online"]["snips"]["high"]

    served.call(
        "POST",
        "/personalizer/v1.1-preview.3/configurations/applyFromEvaluation",
        {"evaluationId": "second act", "policyName": best},
    )
    arguments = served.call("GET", "/personalizer/v1.0/configurations/policy")["arguments"]
    assert arguments == next(one["arguments"] for one in report["policies"] if one["name"] == best)
    wait_until(lambda: served.call("GET", "/rankloop/v1/health")["modelEvents"] == EVENTS, PATIENCE)
    wait_until(lambda: _expected(served, random.Random(3), 20) > 0.7)  # once the new model is seen everywhere
    earned = _expected(served, random.Random(2), NEXT)
    tell(
        f"the log earned {served.earned:.3f}; of {len(judged)} policies {best} was judged to earn "
        f"{judged[best]['snips']['value']:.3f} ({arguments}), after {took:.0f} s; applied, it earns {earned:.3f}"
    )
    assert earned >= 0.84


def _expected(served: Served, chance: random.Random, events: int) -> float:
    """The mean reward over the next events, each the mean over what might have been drawn: so chance is left out."""
    actions = [{"id": name, "features": [features]} for name, features in COFFEE.actions.items()]
    total = 0.0
    for _ in range(events):
        visit = chance.choice(COFFEE.visits)
        ranked = served.call(
            "POST", "/personalizer/v1.0/rank", {"actions": actions, "contextFeatures": list(visit.context)}
        )["ranking"]
        total += sum(one["probability"] * visit.rewards[one["id"]] for one in ranked)
    return total / events


def test_features_are_weighed_through_the_queue(served: Served) -> None:
    # Not the policy that was found: one that crosses action ids finds that they matter most, as to it they do.
    crossed = "-q Fj --cubic FFj --interactions FFFj"
    policy = {"name": "crossed", "arguments": f"--cb_explore_adf --epsilon 0.2 --cb_type mtr -l 0.05 {crossed}"}
    served.call("PUT", "/personalizer/v1.1-preview.3/configurations/policy", policy)
    body = {"name": "what matters", **served.span}
    assert served.call("PUT", f"/personalizer/featureImportances/what%20matters?{NEW}", body) is None

    def ended() -> bool:
        told = served.call("GET", f"/personalizer/featureImportances/what%20matters?{NEW}")
        return bool(told["status"] != "Running")

    wait_until(ended, PATIENCE)
    told = served.call("GET", f"/personalizer/featureImportances/what%20matters?{NEW}")

    assert told["status"] == "Succeeded", told
    assert (told["featureScores"][0]["namespace"], told["featureScores"][0]["score"]) == ("FromUrl", 1.0)
    assert told["featureScores"][0]["featureName"] == "weather"
    report = served.call("GET", "/rankloop/v1/featureImportances/what%20matters")
    assert (report["learned"], report["events"]) == (EVENTS // 2, EVENTS // 2)
    assert report["features"][0]["loss"] > 5 * report["features"][0]["error"]
