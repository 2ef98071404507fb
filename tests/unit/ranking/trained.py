"""Models that have learned something, and the joined lines they learned from."""

from __future__ import annotations

import random
from functools import lru_cache

import orjson

from shared.learning.model import Learner
from shared.loops.policy import DEFAULT_ARGUMENTS


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


@lru_cache
def trained_model(events: int, arguments: str = DEFAULT_ARGUMENTS) -> bytes:
    """The file of a model that has learned so many events."""
    r = random.Random(1)
    learner = Learner(arguments, None)
    for _ in range(events):
        learner.learn(joined_line(r))
    saved = learner.save()
    learner.close()
    return saved
