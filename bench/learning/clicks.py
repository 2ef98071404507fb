"""Turns made-up click rates into a world of noisy clicks: ten articles, none of which many readers click."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Final

from bench.learning.situation import Situation, listed

READERS: Final = ("commuter", "student", "parent", "retired")
TIMES: Final = ("workday", "weekend")
ARTICLES: Final = (
    "politics",
    "sports",
    "music",
    "food",
    "finance",
    "health",
    "science",
    "travel",
    "games",
    "weather",
)
_BEST: Final = (0.23, 0.18, 0.22, 0.19, 0.21, 0.20, 0.21, 0.18)
"""The highest click rate of each reader at each time: 0.203 on average."""
_OTHERS: Final = (0.14, 0.11, 0.08, 0.07, 0.06, 0.055, 0.05, 0.045, 0.04)
"""Those of the other nine articles."""


def rates() -> Mapping[tuple[str, str], Mapping[str, float]]:
    """The click rate of each article, by reader and time; which is clicked most is drawn once and for all."""
    chance = random.Random(4)
    table = {}
    for situation, best in zip(product(READERS, TIMES), _BEST, strict=True):
        shuffled = chance.sample(ARTICLES, len(ARTICLES))
        table[situation] = dict(zip(shuffled, (best, *_OTHERS), strict=True))
    return table


def clicks(chance: random.Random) -> Iterator[Situation]:
    """The world: each article's click of a visit is drawn, so that a choice earns 1 or 0."""
    table, actions = rates(), listed({article: {"article": article} for article in ARTICLES})
    contexts = {(reader, time): [{"reader": reader, "time": time}] for reader, time in table}
    while True:
        situation = chance.choice(READERS), chance.choice(TIMES)
        clicked = {article: float(chance.random() < rate) for article, rate in table[situation].items()}
        yield Situation(contexts[situation], actions, clicked, expected=table[situation])
