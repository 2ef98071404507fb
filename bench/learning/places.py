"""Turns made-up tastes into a multi-slot world: four topics for three places on a page."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import orjson

from bench.learning.situation import Situation, listed

TOPICS: Final = ("news", "sports", "food", "travel")
PLACES: Final = ("top", "side", "bottom")
PAYS: Final = {
    "morning": {"top": "news", "side": "food", "bottom": "sports"},
    "evening": {"top": "sports", "side": "food", "bottom": "travel"},
}
"""What a visitor likes in each place, at each time of the day."""


def places(chance: random.Random) -> Iterator[Situation]:
    """The world; the topics come in another order each time, and the baselines with them."""
    while True:
        time = chance.choice(("morning", "evening"))
        shelf = chance.sample(TOPICS, len(TOPICS))
        slots = [
            {"id": place, "baselineAction": topic, "features": [{"place": place}]}
            for place, topic in zip(PLACES, shelf, strict=False)
        ]
        rewards = {f"{place}/{topic}": float(PAYS[time][place] == topic) for place in PLACES for topic in TOPICS}
        actions = listed({topic: {"topic": topic} for topic in shelf})
        yield Situation([{"time": time}], actions, rewards, orjson.dumps(slots))
