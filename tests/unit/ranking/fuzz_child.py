"""Sends hostile documents down the way of a rank call, in a process that may die of one.

    python -m tests.unit.ranking.fuzz_child FIRST END PROGRESS [--drawn] [--unsanitised]

Before each document its number is written to the file PROGRESS (its beginning, for those that --drawn lets Hypothesis
draw), so that whoever finds this process dead or hanging knows the document. The last line of its output is the
figures as JSON. With --unsanitised a document that VW dies of is given to it at the end, past the sanitiser.
"""

from __future__ import annotations

import json
import math
import mmap
import resource
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, given, seed, settings

from shared.contract.errors import ApiError
from shared.contract.requests import RankRequest, rank_request
from shared.learning.model import Learner, ServingModel
from shared.loops.policy import DEFAULT_ARGUMENTS
from shared.ranking.features import ActionCache, is_plain
from shared.ranking.model_cache import Held
from shared.ranking.rank import Decision, decide
from tests.unit.ranking import drawn, hostile

NOTE = 2000
LOOP = "0123456789abcdef0123456789abcdef"
DEADLY = b'{"FromUrl":[{"__aid":1}],"_multi":[{"_tag":"a","j":[{"__aid":1}]},{"_tag":"b","j":[]}]}'


class Broken(AssertionError):
    """A decision that no caller should ever see."""


def main(first: int, end: int, progress: Path, options: Collection[str]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    learner = Learner(DEFAULT_ARGUMENTS, None)
    held = Held(model=ServingModel(_trained(learner), "--epsilon 0.2"))
    cache = ActionCache(1024 * 1024)
    figures = {"documents": 0, "decided": 0, "refused": 0}

    def send(body: bytes) -> None:
        figures["documents"] += 1
        figures[_outcome(body, held, cache, learner)] += 1

    with open(progress, "w+b") as file:
        file.write(b" " * NOTE)
        file.flush()
        with mmap.mmap(file.fileno(), NOTE) as note:  # pages of the file: they outlive the process at no cost
            if "--drawn" in options:
                _draw(first, end - first, note, send)
            else:
                for number in range(first, end):
                    note[:12] = b"%12d" % number
                    send(hostile.body(number))
            if "--unsanitised" in options and held.model:
                held.model.score(DEADLY)
    print(json.dumps(figures))


def _draw(first: int, count: int, note: mmap.mmap, send: Callable[[bytes], None]) -> None:
    """Send documents that Hypothesis draws, and shrinks if one is answered wrongly."""
    checks = list(HealthCheck)

    @seed(first)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=checks)
    @given(drawn.bodies)
    def each(body: bytes) -> None:
        note[:] = body[:NOTE].ljust(NOTE)
        send(body)

    each()


def _trained(learner: Learner) -> bytes:
    """A model that has learned from calls as they come; it also gets to learn whatever is decided later."""
    cache = ActionCache()
    for n in range(200):
        made = {
            "contextFeatures": [{"time": f"morning{n % 3}", "age": n % 7}],
            "actions": [{"id": f"action{k}", "features": [{"topic": f"sports{k}", "price": k}]} for k in range(4)],
            "eventId": f"training{n}",
        }
        decision = decide(rank_request(orjson.dumps(made)), True, LOOP, Held(), cache)
        learner.learn(_joined(decision, float((n % 3 + decision.chosen) % 4 == 0)))
    return learner.save()


def _joined(decision: Decision, reward: float) -> bytes:
    label = {
        "_label_cost": 0.0 - reward,
        "_label_probability": decision.probability,
        "_label_Action": decision.chosen + 1,
        "_labelIndex": decision.chosen,
    }
    return orjson.dumps(label)[:-1] + b"," + decision.dsjson[1:]


def _outcome(body: bytes, held: Held, cache: ActionCache, learner: Learner) -> str:
    try:
        request = rank_request(body)
        decision = decide(request, is_plain(body), LOOP, held, cache)
    except ApiError as e:
        if not 400 <= e.status < 500:
            raise Broken(f"status {e.status} for the caller's own fault") from e
        orjson.loads(e.body())
        return "refused"
    check(request, decision)
    loss = learner.loss
    learner.learn(_joined(decision, 1.0))
    if not learner.loss < loss:  # VW passes over a line that it cannot read, without a word
        raise Broken("the joined line was not learned")
    return "decided"


def check(request: RankRequest, decision: Decision) -> None:
    """Hold a decision against its request.

    Raises:
        Broken: they do not fit.
    """
    answer: dict[str, Any] = orjson.loads(decision.body)
    ids = [_id(bytes(action)) for action in request.actions]
    ranked = [entry["id"] for entry in answer["ranking"]]
    excluded = [n for n, name in enumerate(ids) if name in (request.excluded_actions or ())]
    probabilities = [entry["probability"] for entry in answer["ranking"]]
    problems = {
        "the ids are not the request's": sorted(ranked) != sorted(ids),
        "the probabilities do not add up": not math.isclose(sum(probabilities), 1, abs_tol=1e-4),
        "a probability is none": not all(0 <= p <= 1 for p in probabilities),
        "an excluded action moved": any(ranked[n] != ids[n] or probabilities[n] != 0 for n in excluded),
        "the reward action is not the first that may be chosen": answer["rewardActionId"]
        != next(name for n, name in enumerate(ranked) if n not in excluded),
        "the event id changed": request.event_id is not None and answer["eventId"] != request.event_id,
    }
    if found := [problem for problem, holds in problems.items() if holds]:
        raise Broken("; ".join(found))


def _id(raw: bytes) -> str:
    found: list[str] = [value for key, value in orjson.loads(raw).items() if key.lower() == "id"]
    return found[-1]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
