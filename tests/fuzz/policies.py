"""Learning policies that cost VW in different ways, by the name of the loop that has them; and their models."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson

from shared.learning.model import Learner
from shared.loops import policy
from shared.loops.policy import Policy, Problem
from shared.loops.service import REWARD_RANGE

_SINGLE = "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001"
_SLOTS = "--ccb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001"
_WILD = " ".join(f"--cubic {first}{second}:" for first in "Fijxyz" for second in "Fijab")

ARGUMENTS = {
    "pairs": f"{_SINGLE} --cb_type mtr -q ::",
    "linear": f"{_SINGLE}",
    "cubic": f"{_SINGLE} -q :: --cubic FFj --interactions FFFj",
    "named": f"{_SINGLE} -q Fj -q Fi -q xj --cubic Fij --cubic xyj",
    "higher": f"{_SINGLE} --interactions FFFFFF --interactions Fij12: --interactions ijFFFF --interactions ijiji:",
    "wild": f"{_SINGLE} {_WILD} -q ::",
    "marginal": f"{_SINGLE} -q :: --marginal i",
    "squarecb": f"{_SINGLE} -q :: --squarecb --gamma_scale 100",
    "softmax": f"{_SINGLE} --cb_type dr -q :: --softmax --lambda 10",
    "bag": f"{_SINGLE} -q :: --bag 20",
    "cover": f"{_SINGLE} -q :: -q F: --cover 10",
    "rnd": f"{_SINGLE} -q :: --rnd 5",
    "drawn": "--cb_explore_adf -q :: --cubic FFj --rnd 3",
    "regcb": "--cb_explore_adf -q :: --regcb",
    "large": f"{_SINGLE} -q :: -b 22",
    "many": f"{_SINGLE} --cb_type mtr -q ::",
    "slots": f"{_SLOTS} --cb_type mtr -q ::",
    "slotslinear": f"{_SLOTS}",
    "slotsnamed": f"{_SLOTS} -q Fj -q sj --cubic Fsj --interactions FFij",
    "slotsbag": f"{_SLOTS} -q :: --bag 5",
    "slotswild": f"{_SLOTS} --cubic FF: --cubic ij: --cubic ss: -q ::",
    "slotsmarginal": f"{_SLOTS} -q :: --marginal i",
    "slotsmany": f"{_SLOTS} --cb_type mtr -q ::",
}
POLICIES: dict[str, Policy] = {name: policy.read(args).within(REWARD_RANGE) for name, args in ARGUMENTS.items()}
MANY = ("many", "slotsmany")
"""The loops that may have a thousand actions a call."""


def prepare(folder: Path) -> None:
    """Write a model of each policy, which has learned, into a folder; by the policy's name."""
    for name, held in POLICIES.items():
        r = random.Random(1)
        learner = Learner(held.training, None)
        # Pairs of so many features leave no part of the table empty, which would be read for free.
        wide = not any(len(spec) > 2 for spec in held.interactions)
        for n in range(40):
            learner.learn(_lesson(r, n, 1500 if wide and n < 4 else 10, held.problem is Problem.MULTI_SLOT))
        (folder / name).write_bytes(learner.save())
        learner.close()


def _lesson(r: random.Random, n: int, features: int, multi_slot: bool) -> bytes:
    actions = [{"_tag": a, "i": {"constant": 1, "id": a}, "j": [{"x": a}]} for a in "ab"]
    example: dict[str, Any] = {
        "FromUrl": [{f"f{r.getrandbits(30)}": r.random() for _ in range(features)}],
        "_multi": actions,
    }
    cost, chosen = -float(n % 2), n % 3 % 2
    if multi_slot:
        slots = [{"_id": "s", "_tag": f"seed={n}", "sj": [{"x": 1}]}]
        outcome = {"_label_cost": cost, "_id": "s", "_a": [chosen, 1 - chosen], "_p": [0.5, 0.5]}
        return orjson.dumps({"EventId": str(n), "c": {**example, "_slots": slots}, "_outcomes": [outcome]})
    label = {"_label_cost": cost, "_label_probability": 0.5, "_label_Action": chosen + 1, "_labelIndex": chosen}
    return orjson.dumps({**label, "EventId": str(n), "a": [1, 2], "c": example, "p": [0.5, 0.5]})
