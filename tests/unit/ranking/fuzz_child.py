"""Sends hostile documents down the way of a rank call, single or multi-slot, in a process that may die of one.

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
from shared.contract.requests import MultiSlotRankRequest, RankRequest, multi_slot_rank_request, rank_request
from shared.learning.model import Learner, ServingModel
from shared.log.buckets import Waits
from shared.log.join import Rules, decode_events, join
from shared.log.records import Observed, event_key
from shared.loops import policy
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import Decision, log_line
from shared.ranking.features import is_plain
from shared.ranking.model_cache import Held
from shared.ranking.multi_slot import decide_slots
from shared.ranking.rank import decide
from tests.unit.ranking import drawn, hostile
from tests.unit.ranking.labels import LabelReader, written
from tests.unit.ranking.trained import LOOP, QUICK_SLOTS, SINGLE

NOTE = 2000
DEADLY = b'{"FromUrl":[{"__aid":1}],"_multi":[{"_tag":"a","j":[{"__aid":1}]},{"_tag":"b","j":[]}]}'
RULES = Rules(600.0, 0.0, "earliest", (-1.0, 1.0))


class Broken(AssertionError):
    """A decision that no caller should ever see."""


class Kind:
    """One kind of rank call: a loop, a model that learns from calls as they come, and one that it was."""

    def __init__(self, arguments: str) -> None:
        self.loop = Loop(LOOP, ServiceConfiguration(), policy.read(arguments), Waits(((0, 600.0),)))
        self.cache = ActionCache()
        self.learner = Learner(arguments, None)
        self._reader = LabelReader()
        self.held = Held()
        for n in range(200):
            self.outcome(_ordinary(n, self.loop.multi_slot), float(n % 3 == 0))
        self.held = Held(model=ServingModel(self.learner.save(), "--epsilon 0.2"))
        self.cache = ActionCache(1024 * 1024)

    def outcome(self, body: bytes, reward: float = 1.0) -> str:
        """What becomes of a document: "decided", and learned then, or "refused"."""
        try:
            decision = self._decide(body)
        except ApiError as e:
            if not 400 <= e.status < 500:
                raise Broken(f"status {e.status} for the caller's own fault") from e
            orjson.loads(e.body())
            return "refused"
        line = _joined(decision, reward)
        loss = self.learner.loss
        self.learner.learn(line)
        # VW passes over what it cannot read, without a word.
        if self.loop.multi_slot:
            check_labels(line, self._reader)
        elif reward > 0 and not self.learner.loss < loss:
            raise Broken("the joined line was not learned")
        return "decided"

    def _decide(self, body: bytes) -> Decision:
        plain = is_plain(body)
        if self.loop.multi_slot:
            slots_request = multi_slot_rank_request(body)
            decision = decide_slots(slots_request, plain, self.loop, self.held, self.cache)
            check_slots(slots_request, decision)
        else:
            request = rank_request(body)
            decision = decide(request, plain, self.loop, self.held, self.cache)
            check(request, decision)
        return decision


def main(first: int, end: int, progress: Path, options: Collection[str]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    single, multi_slot = Kind(SINGLE), Kind(QUICK_SLOTS)
    figures = {"documents": 0, "multi_slot": 0, "decided": 0, "multi_slot_decided": 0, "refused": 0}

    def send(body: bytes) -> None:
        kind = multi_slot if b'"slots"' in body else single
        figures["documents"] += 1
        outcome = kind.outcome(body)
        figures[outcome] += 1
        if kind is multi_slot:
            figures["multi_slot"] += 1
            figures["multi_slot_decided"] += outcome == "decided"

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
            if "--unsanitised" in options and single.held.model:
                single.held.model.score(DEADLY)
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


def _ordinary(n: int, multi_slot: bool) -> bytes:
    """A call as they come."""
    made = {
        "contextFeatures": [{"time": f"morning{n % 3}", "age": n % 7}],
        "actions": [{"id": f"action{k}", "features": [{"topic": f"sports{k}", "price": k}]} for k in range(4)],
        "eventId": f"training{n}",
    }
    slots = [{"id": f"slot{k}", "baselineAction": f"action{k}", "features": [{"place": k}]} for k in range(3)]
    return orjson.dumps({**made, "slots": slots} if multi_slot else made)


def _joined(decision: Decision, reward: float) -> bytes:
    """The joined line of a decision that earned so much, in each of its slots."""
    events = decode_events([log_line(decision, 1.0, False)])
    slots = None if events[0].s is None else [(slot.id, reward) for slot in events[0].s]
    observed = Observed(event_key(decision.event_id), 2.0, "r", reward, slots)
    (line,) = join(events, [observed], [], RULES).lines
    return line


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


def check_slots(request: MultiSlotRankRequest, decision: Decision) -> None:
    """Hold a multi-slot decision against its request.

    Raises:
        Broken: they do not fit.
    """
    answer: dict[str, Any] = orjson.loads(decision.body)
    ids = {_id(bytes(action)) for action in request.actions}
    chosen = [entry.get("rewardActionId") for entry in answer["slots"]]
    taken = [action for action in chosen if action is not None]
    admitted = [ids - set(slot.excluded_actions or ()) for slot in request.slots]
    problems = {
        "the slots are not the request's": [entry["id"] for entry in answer["slots"]] != [s.id for s in request.slots],
        "an action stands twice": len(set(taken)) != len(taken),
        "an action is not the request's": not set(taken) <= ids,
        "an excluded action was chosen": any(
            action is not None and action not in among for action, among in zip(chosen, admitted, strict=True)
        ),
        "a slot is empty though an action was left": any(
            action is None and among - set(taken) for action, among in zip(chosen, admitted, strict=True)
        ),
        "empty slots are counted wrongly": decision.empty_slots != chosen.count(None),
        "the event id changed": request.event_id is not None and answer["eventId"] != request.event_id,
    }
    if found := [problem for problem, holds in problems.items() if holds]:
        raise Broken("; ".join(found))


def check_labels(line: bytes, reader: LabelReader) -> None:
    """Hold what VW reads of a joined line against what was written into it.

    Raises:
        Broken: they do not fit.
    """
    for theirs, ours in zip(reader.read(line), written(line), strict=True):
        if theirs is None or ours is None:
            if theirs is not ours:
                raise Broken("VW was told nothing of a slot, or something of an empty one")
        elif (theirs.cost, theirs.actions) != (ours.cost, ours.actions) or not all(
            math.isclose(p, q, rel_tol=1e-6) for p, q in zip(theirs.probabilities, ours.probabilities, strict=True)
        ):
            raise Broken(f"VW reads {theirs} for {ours}")


def _id(raw: bytes) -> str:
    found: list[str] = [value for key, value in orjson.loads(raw).items() if key.lower() == "id"]
    return found[-1]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
