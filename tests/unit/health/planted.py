"""Makes joined lines as an application's events would have left them, well or with something wrong in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import orjson

Line = dict[str, Any]
Change = Callable[[Line, random.Random, int], object]
"""What is wrong with a line: it gets the line, chance, and the number of the event."""
ACTIONS = ["pasta", "pizza", "salad", "soup"]


def lines(count: int, seed: int = 0, change: Change | None = None, actions: Sequence[str] = ACTIONS) -> list[bytes]:
    """The joined lines of a healthy loop, each changed."""
    rng, made = random.Random(seed), []
    for n in range(count):
        line = event(rng, n, actions)
        if change is not None:
            change(line, rng, n)
        made.append(orjson.dumps(line))
    return made


def event(rng: random.Random, n: int, actions: Sequence[str] = ACTIONS) -> Line:
    """One line: epsilon-greedy with 0.2, a third of the events rewarded."""
    count, epsilon = len(actions), 0.2
    best = rng.randrange(count)
    by_action = [epsilon / count + (1 - epsilon) * (action == best) for action in range(count)]
    drawn = rng.choices(range(count), by_action)[0]
    order = [drawn, *(action for action in sorted(range(count), key=lambda a: -by_action[a]) if action != drawn)]
    reward = float(rng.random() < 0.33)
    offered = [
        {
            "_tag": name,
            "i": {"constant": 1, "id": name},
            "j": [{"taste": name[:2]}, {"nutrition": {"energy": sum(map(ord, name)) % 50}}],
        }
        for name in actions
    ]
    context = [{"timeOfDay": rng.choice(["morning", "noon", "night"]), "age": rng.randrange(80)}]
    return {
        "_label_cost": 0.0 - reward,
        "_label_probability": by_action[drawn],
        "_label_Action": drawn + 1,
        "_labelIndex": drawn,
        "_original_label_cost": 0.0 - reward,
        "o": [{"v": 1.0, "EventId": f"e{n}", "ActionTaken": False}] if reward else [],
        "Timestamp": "2026-01-01T00:00:00.000000Z",
        "Version": "1",
        "EventId": f"e{n}",
        "a": [action + 1 for action in order],
        "c": {"FromUrl": context, "_multi": offered},
        "p": [by_action[action] for action in order],
        "VWState": {"m": "v1"},
        "epsilon": epsilon,
    }


def slots(line: Line, rng: random.Random, n: int) -> None:
    """Make an event one of two slots, of which both draw uniformly; the second one from what the first has left."""
    count = len(line["c"]["_multi"])
    order = rng.sample(range(count), count)
    line["c"]["_slots"] = [{"_id": name, "_tag": f"seed={n}", "sj": [{"size": rng.random()}]} for name in "xy"]
    line["_outcomes"] = [
        {
            "_label_cost": line["_label_cost"],
            "_id": name,
            "_a": order[place:],
            "_p": [1 / (count - place)] * (count - place),
            "_o": [{"v": 1.0, "EventId": f"e{n}", "Index": name, "ActionTaken": False}] if line["o"] else [],
            "_original_label_cost": line["_label_cost"],
        }
        for place, name in enumerate("xy")
    ]
    for name in ("a", "p", "o", "_label_cost", "_original_label_cost"):
        del line[name]
