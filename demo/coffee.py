"""Turns the facts of Personalizer's notebook tutorial into a scenario: four guests, and the coffee each would like."""

from __future__ import annotations

from typing import Final

from demo.scenario import Scenario, Visit

COFFEES: Final = {
    "Cappucino": {"type": "hot", "origin": "kenya", "organic": "yes", "roast": "dark"},
    "Cold brew": {"type": "cold", "origin": "brazil", "organic": "yes", "roast": "light"},
    "Iced mocha": {"type": "cold", "origin": "ethiopia", "organic": "no", "roast": "light"},
    "Latte": {"type": "hot", "origin": "brazil", "organic": "no", "roast": "dark"},
}
"""By id, spelled as the tutorial spells them."""

TIMES: Final = ("Morning", "Afternoon", "Evening")
_LETTERS: Final = {"C": "Cappucino", "B": "Cold brew", "M": "Iced mocha", "L": "Latte"}
# What a guest likes in the morning, in the afternoon and in the evening, by weather.
_LIKES: Final = {
    "Alice": {"Sunny": "BMB", "Rainy": "LCL", "Snowy": "CCC"},
    "Bob": {"Sunny": "CMB", "Rainy": "LLL", "Snowy": "MMM"},
    "Cathy": {"Sunny": "LBC", "Rainy": "CLM", "Snowy": "BMC"},
    "Dave": {"Sunny": "MMM", "Rainy": "LLL", "Snowy": "CCC"},
}


def _visit(name: str, weather: str, time: str, letter: str) -> Visit:
    liked = _LETTERS[letter]
    context = [{"timeofday": time, "weather": weather, "name": name}]
    return Visit(context, {coffee: float(coffee == liked) for coffee in COFFEES})


COFFEE: Final = Scenario(
    name="coffee",
    actions=COFFEES,
    visits=[
        _visit(name, weather, time, letter)
        for name, likes in _LIKES.items()
        for weather, letters in likes.items()
        for time, letter in zip(TIMES, letters, strict=True)
    ],
    events=10_000,
    rate=17.0,
    note="the default policy pairs features, which tells the coffee in 25 of 36 situations: 0.606 with 20% exploration",
)
