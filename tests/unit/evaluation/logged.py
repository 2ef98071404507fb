"""Joined lines of two small worlds, decided and joined by the product's own code, and excerpts of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.contract.requests import multi_slot_rank_request, rank_request
from shared.evaluation.scores import Scores
from shared.learning.excerpt import Excerpt, Stretch
from shared.learning.model import ServingModel
from shared.log import joined
from shared.log.buckets import Waits
from shared.log.erasure import Erasure
from shared.log.join import Rules, decode_events, join
from shared.log.joined import Held as Blob
from shared.log.records import ONLINE, Observed, event_key
from shared.loops import policy
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import log_line
from shared.ranking.model_cache import Held
from shared.ranking.multi_slot import decide_slots
from shared.ranking.rank import decide
from tests.unit.ranking.trained import LOOP, QUICK_SLOTS, SINGLE, trained_model

T0 = 1_700_000_000
RULES = Rules(600, 0.0, "earliest", (-1.0, 1.0))
QUICK = "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q Fj"
"""A policy that knows the world after some hundred events."""


def lines(count: int, seed: int = 1, rules: Rules = RULES) -> list[bytes]:
    """Decisions of a model that is a little trained, in a world in which topic t1 pays at time t1, and so on."""
    return _decided(count, seed, False, rules)


def slot_lines(count: int, seed: int = 1) -> list[bytes]:
    """The same where two slots have three actions left to them, and the third only what the others leave."""
    return _decided(count, seed, True, RULES)


def _decided(count: int, seed: int, multi_slot: bool, rules: Rules) -> list[bytes]:
    chance = random.Random(seed)
    arguments = QUICK_SLOTS if multi_slot else SINGLE
    loop = Loop(LOOP, ServiceConfiguration(), policy.read(arguments), Waits(((0, 600.0),)))
    held = Held(model=ServingModel(trained_model(50, arguments), "--epsilon 0.4"))
    cache, ranked, observed = ActionCache(), list[bytes](), list[Observed]()
    for n in range(count):
        time = chance.randrange(4)
        event_id = f"e{seed}-{n}"
        body: dict[str, object] = {
            "eventId": event_id,
            "contextFeatures": [{"time": f"t{time}"}],
            "actions": [{"id": f"a{k}", "features": [{"topic": f"t{k}"}]} for k in range(4)],
        }
        arrived = T0 + n / 10
        if multi_slot:
            body["slots"] = [
                {"id": "top", "baselineAction": "a0", "excludedActions": ["a3"], "features": [{"size": "big"}]},
                {"id": "side", "baselineAction": "a1", "excludedActions": ["a3"]},
                {"id": "end", "baselineAction": "a2", "excludedActions": ["a0", "a1"] if n % 2 else ["a0", "a1", "a3"]},
            ]
            decision = decide_slots(multi_slot_rank_request(orjson.dumps(body)), True, loop, held, cache)
            chosen = [(slot["id"], slot.get("rewardActionId")) for slot in orjson.loads(decision.body)["slots"]]
            rewards = [(name, float(action == f"a{time}")) for name, action in chosen if action]
            observed.append(Observed(event_key(event_id), arrived + 0.5, "r", 0.0, rewards))
        else:
            decision = decide(rank_request(orjson.dumps(body)), True, loop, held, cache)
            paid = orjson.loads(decision.body)["rewardActionId"] == f"a{time}"
            observed.append(Observed(event_key(event_id), arrived + 0.5, "r", 0.75 * paid))
        ranked.append(log_line(decision, arrived, False))
    if held.model:
        held.model.close()
    return join(decode_events(ranked), observed, [], rules).lines


def alike(one: Scores, other: Scores) -> bool:
    """Whether all numbers are the same, and of the same kind."""
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = list(zip(one, other, strict=True))
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def blob(made: Sequence[bytes], labels: str = RULES.labels) -> Blob:
    """A window's blob that holds the lines."""
    packed = joined.pack(made, labels)
    return Blob("window", packed.data, packed.metadata["sha256"], labels)


def excerpt(
    *parts: Sequence[bytes], multi_slot: bool = False, rules: Rules | None = RULES, erasures: Sequence[Erasure] = ()
) -> Excerpt:
    """A stretch of the log: a window of each part."""
    stretches = [Stretch(T0, blob(part)) for part in parts]
    return Excerpt(multi_slot, ONLINE, rules, list(erasures), stretches)
