"""Multi-slot Rank in process, body bytes to response bytes and journal line, against raw VW on the same examples."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from bench.documents import body, make_actions, rank_request
from bench.raw import microseconds, raw_vw
from shared.contract.requests import multi_slot_rank_request as decode
from shared.learning.model import Learner, ServingModel
from shared.log.buckets import Waits
from shared.log.join import Rules, decode_events, join
from shared.log.records import mark
from shared.loops import policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import Decision, log_line
from shared.ranking.features import is_plain
from shared.ranking.model_cache import Held
from shared.ranking.multi_slot import decide_slots

ROUNDS = 15
REQUESTS = 30
LOOP = Loop("0" * 32, ServiceConfiguration(), policy.read(DEFAULT_ARGUMENTS[Problem.MULTI_SLOT]), Waits(((0, 600.0),)))


class _Known(msgspec.Struct):
    """What a decision says of the joined line, so far as it is wanted here: the example that VW sees."""

    c: msgspec.Raw


def trained_model(bodies: Sequence[bytes]) -> bytes:
    """A model that has learned one event of each body, as the join writes it."""
    cache = ActionCache()
    lines = [log_line(_decide(raw, Held(), cache), float(n), False) for n, raw in enumerate(bodies)]
    learner = Learner(LOOP.policy.training, None)
    for line in join(decode_events(lines), [], [], Rules(600.0, 0.5, "earliest", (-1.0, 1.0))).lines:
        learner.learn(line)
    data = learner.save()
    learner.close()
    return data


def measure(slots: int, actions: int, seen: bool) -> tuple[float, float]:
    """Microseconds a request of our rank and of raw VW, medians of interleaved rounds."""
    rng = random.Random(1)
    pool = make_actions(rng, actions)
    held_bodies = [_body(rng, pool, slots) for _ in range(REQUESTS)]
    data = trained_model(held_bodies)
    held = Held(model=ServingModel(data, "--epsilon 0.2"))
    vw = raw_vw(data, lambda part: part.get_decision_scores())
    cache = ActionCache()
    ours, raw = [], []
    for _ in range(ROUNDS):
        bodies = held_bodies if seen else [_body(rng, make_actions(rng, actions), slots) for _ in range(REQUESTS)]
        examples = [_example(b, held) for b in bodies]
        if seen:
            for b in bodies:
                _rank(b, held, cache)
        ours.append(microseconds(lambda b: _rank(b, held, cache), bodies))
        raw.append(microseconds(vw, examples))
    return statistics.median(ours), statistics.median(raw)


def _body(rng: random.Random, pool: list[dict[str, Any]], slots: int) -> bytes:
    """A request for so many slots, each with a few features, and another of the actions as its baseline."""
    asked = [
        {
            "id": f"slot-{n}",
            "baselineAction": pool[n]["id"],
            "features": [{"place": f"place-{n}", "size": rng.randrange(5), "share": round(rng.random(), 4)}],
        }
        for n in range(slots)
    ]
    return body({**rank_request(rng, pool), "slots": asked}, f"{rng.getrandbits(128):032x}")


def _example(raw: bytes, held: Held) -> bytes:
    return bytes(msgspec.json.decode(_decide(raw, held, ActionCache()).dsjson, type=_Known).c)


def _decide(raw: bytes, held: Held, cache: ActionCache) -> Decision:
    return decide_slots(decode(raw), is_plain(raw), LOOP, held, cache)


def _rank(raw: bytes, held: Held, cache: ActionCache) -> tuple[bytes, bytes]:
    decision = _decide(raw, held, cache)
    now = time.time()
    return decision.body, log_line(decision, now, False) + mark(decision.event_id, now)


def main() -> None:
    """Print the ratios."""
    print("Multi-slot Rank in process / raw VW parse + predict on the same example (10 + 10 features, 3 a slot):")
    for slots, actions in ((3, 10), (10, 50)):
        for seen, bound in ((True, 2.0), (False, 3.5)):
            ours, raw = measure(slots, actions, seen)
            kind = "seen before" if seen else "all new    "
            goal = f"  (goal at most {bound})" if slots == 10 else ""
            print(f"  {slots:2} slots, {actions} actions, {kind}: {ours / raw:.2f}x  ({ours:.0f} / {raw:.0f} us){goal}")


if __name__ == "__main__":
    main()
