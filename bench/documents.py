"""Makes the rank requests and joined lines that the measurements run on."""

from __future__ import annotations

import random
from typing import Any

import orjson


def rank_request(rng: random.Random, actions: list[dict[str, Any]], features: int = 10) -> dict[str, Any]:
    """A request over these actions with so many context features."""
    context = {f"c{n}": _value(rng, n) for n in range(features)}
    return {"contextFeatures": [context], "actions": actions}


def make_actions(rng: random.Random, count: int, features: int = 10) -> list[dict[str, Any]]:
    """Actions with ids and feature values of their own."""
    return [
        {"id": f"action-{rng.randrange(10**9)}", "features": [{f"f{n}": _value(rng, n) for n in range(features)}]}
        for _ in range(count)
    ]


def _value(rng: random.Random, n: int) -> str | float:
    return round(rng.random(), 4) if n % 2 else f"value-{rng.randrange(20)}"


def body(request: dict[str, Any], event_id: str) -> bytes:
    """The request's bytes under an event id."""
    return orjson.dumps({**request, "eventId": event_id})
