"""Makes joined lines of a small world in which it is known what each decision is worth."""

from __future__ import annotations

import random
from statistics import fmean

import orjson

from shared.learning.model import ServingModel
from shared.log.buckets import iso

ARTICLES, READERS, HOURS = 10, 4, 3


def clicks(reader: int, hour: int, article: int) -> float:
    """How probable a click is: about 0.05 to 0.25, and another article is best for each reader and hour."""
    return 0.05 + 0.2 * ((reader * 3 + hour * 5 + article * 7) % ARTICLES) / (ARTICLES - 1)


def example(reader: int, hour: int) -> dict[str, object]:
    """The example of a decision in the layout of `features.example`."""
    actions = [
        {"_tag": f"a{n}", "i": {"constant": 1, "id": f"a{n}"}, "j": [{"topic": f"t{n}"}]} for n in range(ARTICLES)
    ]
    return {"FromUrl": [{"reader": f"r{reader}"}, {"hour": f"h{hour}"}], "_multi": actions}


def lines(count: int, seed: int, start: float = 0.0) -> list[bytes]:
    """Joined lines of so many decisions from a time on, drawn from all articles alike."""
    chance = random.Random(seed)
    made = []
    for n in range(count):
        event_id = f"{chance.getrandbits(64):016x}"
        reader, hour, chosen = chance.randrange(READERS), chance.randrange(HOURS), chance.randrange(ARTICLES)
        clicked = chance.random() < clicks(reader, hour, chosen)
        order = [chosen, *(n for n in range(ARTICLES) if n != chosen)]
        line = {
            "_label_cost": 0.0 - clicked,
            "_label_probability": 1 / ARTICLES,
            "_label_Action": chosen + 1,
            "_labelIndex": chosen,
            "_original_label_cost": 0.0 - clicked,
            "o": [{"v": 1.0, "EventId": event_id, "ActionTaken": False}] if clicked else [],
            "Timestamp": iso(start + n / 100),
            "Version": "1",
            "EventId": event_id,
            "a": [n + 1 for n in order],
            "c": example(reader, hour),
            "p": [1 / ARTICLES] * ARTICLES,
        }
        made.append(orjson.dumps(line))
    return made


def value(model: bytes) -> float:
    """What a model earns a decision in this world, if it explores nothing."""
    serving = ServingModel(model, "--epsilon 0")
    earned = []
    for reader in range(READERS):
        for hour in range(HOURS):
            scores = serving.score(orjson.dumps(example(reader, hour)))
            earned.append(sum(p * clicks(reader, hour, n) for n, p in enumerate(scores.distribution)))
    serving.close()
    return fmean(earned)


BEST = fmean(max(clicks(r, h, n) for n in range(ARTICLES)) for r in range(READERS) for h in range(HOURS))
UNIFORM = fmean(clicks(r, h, n) for n in range(ARTICLES) for r in range(READERS) for h in range(HOURS))
"""What full knowledge and no knowledge would earn."""
