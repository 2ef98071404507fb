"""Turns a policy into whether its model goes on from a saved file as it would have without one, bit for bit.

The product saves and loads a model at every export, so what VW keeps in memory alone is lost each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from random import Random
from typing import Final

import orjson

from bench.learning.course import STEP, Course
from bench.learning.policies import DEFAULT, FOUND, SQUARECB, explored
from bench.learning.tutorials import tutorial
from demo.coffee import COFFEE
from shared.learning.model import Learner, ServingModel
from shared.loops import policy
from shared.loops.policy import Policy

EVENTS: Final = 600
POLICIES: Final = {
    "default": DEFAULT,
    "epsilon 0.2, found": explored("--epsilon 0.2", FOUND),
    "greedy": explored("--epsilon 0.0", FOUND),
    "cb_type ips": DEFAULT.replace("mtr", "ips"),
    "cb_type dm": DEFAULT.replace("mtr", "dm"),
    "cb_type dr": DEFAULT.replace("mtr", "dr"),
    "squarecb": explored(SQUARECB, FOUND),
    "softmax lambda 10": explored("--softmax --lambda 10", FOUND),
    "synthcover": explored("--synthcover", FOUND),
    "first 100": explored("--first 100", FOUND),
    "l1, l2": f"{DEFAULT} --l1 1e-7 --l2 1e-7",
    "bag 5": explored("--bag 5", "-q ::"),
    "cover 3": explored("--cover 3", "-q ::"),
    "cover 3 nounif": explored("--cover 3 --nounif", "-q ::"),
    "rnd 3": explored("--rnd 3", "-q ::"),
}


@dataclass(frozen=True, slots=True)
class Resumed:
    """What saving and loading after every hundred events did to a model.

    Attributes:
        file: whether its last file is the same, byte for byte, as that of a run without.
        apart: by how much a probability differs at most.
        told: whether the product says that it goes on bit for bit.
    """

    file: bool
    apart: float
    told: bool

    @property
    def right(self) -> bool:
        """Whether what the product promises is so. What it does not promise may be so by chance."""
        return self.file or not self.told


def resumed(arguments: str) -> Resumed:
    """Learn the same events both ways."""
    learned = policy.read(arguments)
    straight, saved = _learned(learned, EVENTS), _learned(learned, STEP)
    pairs = zip(_distributions(straight), _distributions(saved), strict=True)
    return Resumed(straight == saved, max(abs(a - b) for a, b in pairs), learned.resumes)


def _learned(learned: Policy, step: int) -> bytes:
    """The model of the whole log, saved and loaded after so many events."""
    data: bytes | None = None
    lines = _log()
    for first in range(0, len(lines), step):
        learner = Learner(learned.training, data, learned.resuming)
        for line in lines[first : first + step]:
            learner.learn(line)
        data = learner.save()
        learner.close()
    assert data is not None
    return data


@lru_cache(maxsize=1)
def _log() -> Sequence[bytes]:
    """Joined lines of the coffee tutorial as the default policy plays it."""
    course, situations = Course(DEFAULT, "log"), tutorial(COFFEE)(Random(0))
    lines: list[bytes] = []
    for _ in range(EVENTS // STEP):
        course.play(islice(situations, STEP))
        lines += course.learned
    course.close()
    return lines


def _distributions(model: bytes) -> list[float]:
    """The probabilities that a model gives in the situations of the log, one behind the other."""
    serving = ServingModel(model, "")
    examples = [orjson.dumps(orjson.loads(line)["c"]) for line in _log()[:STEP]]
    found = [probability for example in examples for probability in serving.score(example).distribution]
    serving.close()
    return found


def table() -> tuple[str, bool]:
    """All policies in Markdown, and whether each does what the product says of it."""
    lines = [
        "### resumption: a model that is saved and loaded after every 100 of 600 events",
        "",
        "| policy | file as without | probabilities apart by | goes on bit for bit, says the product | verdict |",
        "|---|---|---|---|---|",
    ]
    right = True
    for name, arguments in POLICIES.items():
        found = resumed(arguments)
        right &= found.right
        verdict = "**short**: it does not" if not found.right else "ok" if found.told else "not promised"
        lines.append(f"| {name} | {_word(found.file)} | {found.apart:.3g} | {_word(found.told)} | {verdict} |")
    return "\n".join(lines) + "\n", right


def _word(value: bool) -> str:
    return "yes" if value else "no"
