"""Models that have learned something, the joined lines they learned from, and what a trainer is told of a policy."""

from __future__ import annotations

import random
from functools import lru_cache

import orjson

from shared.learning.lesson import Job
from shared.learning.model import Learner
from shared.log.records import ONLINE
from shared.loops import policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem

LOOP = "0123456789abcdef0123456789abcdef"
SINGLE, SLOTS = DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT], DEFAULT_ARGUMENTS[Problem.MULTI_SLOT]
QUICK_SLOTS = SLOTS.replace("-l 0.001", "-l 0.1")
"""A multi-slot policy that is past chance after some hundred events."""


def job(arguments: str = SINGLE, mode: str = ONLINE) -> Job:
    """What to train a loop of this policy on: whatever is in its log."""
    learned = policy.read(arguments)
    return Job(
        loop_id=LOOP,
        arguments=learned.training,
        resuming=learned.resuming,
        lineage=learned.lineage,
        multi_slot=learned.problem is Problem.MULTI_SLOT,
        mode=mode,
        watermark=0,
        since=0,
        retrain_days=2,
        export_frequency=300.0,
    )


def joined_line(r: random.Random, actions: int = 5) -> bytes:
    """A joined line of a world in which topic t1 pays at time t1, and so on."""
    time, chosen = r.randrange(4), r.randrange(actions)
    topics = [r.randrange(5) for _ in range(actions)]
    return orjson.dumps(
        {
            "_label_cost": -1.0 if topics[chosen] == time else 0.0,
            "_label_probability": 1 / actions,
            "_label_Action": chosen + 1,
            "_labelIndex": chosen,
            "Version": "1",
            "EventId": f"{r.getrandbits(64):x}",
            "a": [n + 1 for n in range(actions)],
            "c": example(time, topics),
            "p": [1 / actions] * actions,
        }
    )


def example(time: int, topics: list[int]) -> dict[str, object]:
    """An example in the layout that `features.example` builds."""
    return {
        "FromUrl": [{"time": f"t{time}", "hour": time}],
        "_multi": [
            {"_tag": f"a{n}", "i": {"constant": 1, "id": f"a{n}"}, "j": [{"topic": f"t{topic}"}]}
            for n, topic in enumerate(topics)
        ],
    }


def joined_slots(r: random.Random, actions: int = 5, slots: int = 3) -> bytes:
    """A joined multi-slot line of a world in which topic t1 pays in place p1, and so on."""
    topics = [r.randrange(5) for _ in range(actions)]
    event_id, left, outcomes = f"{r.getrandbits(64):x}", list(range(actions)), []
    for place in range(slots):
        r.shuffle(left)
        cost = -1.0 if topics[left[0]] == place else 0.0
        outcomes.append({"_label_cost": cost, "_id": f"s{place}", "_a": left[:], "_p": [1 / len(left)] * len(left)})
        del left[0]
    return orjson.dumps({"EventId": event_id, "c": slots_example(event_id, topics, slots), "_outcomes": outcomes})


def slots_example(event_id: str, topics: list[int], slots: int) -> dict[str, object]:
    """A multi-slot example in the layout that `features.example` builds."""
    elements = [
        {"_id": f"s{place}", "_tag": f"seed={event_id}s{place}", "sj": [{"place": f"p{place}"}]}
        for place in range(slots)
    ]
    return {**example(1, topics), "_slots": elements}


@lru_cache
def trained_model(events: int, arguments: str = SINGLE) -> bytes:
    """The file of a model that has learned so many events."""
    r = random.Random(1)
    line = joined_slots if job(arguments).multi_slot else joined_line
    learner = Learner(arguments, None)
    for _ in range(events):
        learner.learn(line(r))
    saved = learner.save()
    learner.close()
    return saved
