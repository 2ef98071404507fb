"""Turns the facts of VW's tutorial of Tom and Anna into a world: which of seven articles each reads, and when.

https://vowpalwabbit.org/docs/vowpal_wabbit/python/latest/tutorials/cb_simulation.html: two visitors, morning and
afternoon, one article each that is clicked. In its second and third scenario tastes change after 5,000 visits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Final

from bench.learning.situation import Situation, World, listed

ARTICLES: Final = ("politics", "sports", "music", "food", "finance", "health", "camping")
SWITCH: Final = 5_000

Tastes = Mapping[tuple[str, str], str]
"""The article that a visitor reads at a time of the day."""


def _tastes(tom_morning: str, tom_afternoon: str, anna_morning: str, anna_afternoon: str) -> Tastes:
    return {
        ("Tom", "morning"): tom_morning,
        ("Tom", "afternoon"): tom_afternoon,
        ("Anna", "morning"): anna_morning,
        ("Anna", "afternoon"): anna_afternoon,
    }


FIRST: Final = _tastes("politics", "music", "sports", "politics")
SECOND: Final = _tastes("politics", "sports", "sports", "sports")
"""Scenario 2: articles that somebody read before."""
THIRD: Final = _tastes("politics", "food", "food", "food")
"""Scenario 3: one that nobody did."""


def visitors(later: Tastes = FIRST) -> World:
    """The world in which these are the tastes from the 5,001st visit on."""

    def world(chance: random.Random) -> Iterator[Situation]:
        actions = listed({article: {"article": article} for article in ARTICLES})
        for n in count():
            user, time = chance.choice(("Tom", "Anna")), chance.choice(("morning", "afternoon"))
            read = (FIRST if n < SWITCH else later)[user, time]
            rewards = {article: float(article == read) for article in ARTICLES}
            yield Situation([{"user": user, "time_of_day": time}], actions, rewards)

    return world
