"""Joined lines of the coffee tutorial, decided by a draw from all coffees alike, with features that mean nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator

import orjson

from demo.coffee import COFFEE
from shared.log.buckets import iso

NOISE = ("noise", "level", "sticker")
"""Features of context, context and actions that nothing depends on."""
T0 = 1_700_000_000


def lines(count: int, seed: int = 1) -> Iterator[bytes]:
    """So many joined lines, a second between them."""
    r = random.Random(seed)
    for n in range(count):
        visit = r.choice(COFFEE.visits)
        names = list(COFFEE.actions)
        drawn = r.randrange(len(names))
        context = [{**visit.context[0], "noise": r.choice("abcdef"), "level": r.random()}]
        offered = [
            {
                "_tag": name,
                "i": {"constant": 1, "id": name},
                "j": [{**COFFEE.actions[name], "sticker": r.choice("pqr")}],
            }
            for name in names
        ]
        reward = visit.rewards[names[drawn]]
        yield orjson.dumps(
            {
                "_label_cost": 0.0 - reward,
                "_label_probability": 0.25,
                "_label_Action": drawn + 1,
                "_labelIndex": drawn,
                "o": [{"v": reward, "EventId": f"e{n}", "ActionTaken": False}],
                "Timestamp": iso(T0 + n),
                "Version": "1",
                "EventId": f"e{n}",
                "a": [drawn + 1, *(k + 1 for k in range(4) if k != drawn)],
                "c": {"FromUrl": context, "_multi": offered},
                "p": [0.25] * 4,
                "VWState": {"m": "N/A"},
            }
        )
