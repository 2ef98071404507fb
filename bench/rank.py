"""Rank in process, body bytes to response bytes without the journal, against raw VW on the same examples."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence

from bench.documents import body, make_actions, rank_request
from bench.raw import microseconds, raw_vw
from shared.contract.requests import rank_request as decode
from shared.learning.model import Learner, ServingModel
from shared.log.buckets import Waits
from shared.log.records import mark
from shared.loops import policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking import features
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import log_line
from shared.ranking.features import is_plain, sanitise_action, sanitise_context
from shared.ranking.model_cache import Held
from shared.ranking.rank import decide

ROUNDS = 15
REQUESTS = 100
LOOP = Loop("0" * 32, ServiceConfiguration(), policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]), Waits(((0, 600.0),)))


def trained_model(bodies: Sequence[bytes]) -> bytes:
    """A model that has learned one event of each body."""
    learner = Learner(LOOP.policy.training, None)
    for k, raw in enumerate(bodies):
        request = decode(raw)
        actions = [sanitise_action(bytes(a), n) for n, a in enumerate(request.actions)]
        example = features.example(sanitise_context(bytes(request.context_features)), actions)
        label = k % len(actions)
        line = b'{"_label_cost":%d,"_label_probability":0.1,"_labelIndex":%d,"a":[%d],"p":[0.1],"c":%b}'
        learner.learn(line % (-(k % 2), label, label + 1, example))
    data = learner.save()
    learner.close()
    return data


def measure(actions: int, seen: bool) -> tuple[float, float, ActionCache]:
    """Microseconds a request of our rank and of raw VW, medians of interleaved rounds."""
    rng = random.Random(1)
    pool = make_actions(rng, actions)
    held_bodies = [body(rank_request(rng, pool), f"{rng.getrandbits(128):032x}") for _ in range(REQUESTS)]
    data = trained_model(held_bodies)
    held = Held(model=ServingModel(data, "--epsilon 0.2"))
    vw = raw_vw(data, lambda part: part.get_action_scores())
    cache = ActionCache()
    ours, raw = [], []
    for _ in range(ROUNDS):
        bodies = held_bodies
        if not seen:
            bodies = [
                body(rank_request(rng, make_actions(rng, actions)), f"{rng.getrandbits(128):032x}")
                for _ in range(REQUESTS)
            ]
        examples = [_example(b) for b in bodies]
        if seen:
            for b in bodies:
                answered(b, held, cache)
        ours.append(microseconds(lambda b: answered(b, held, cache), bodies))
        raw.append(microseconds(vw, examples))
    return statistics.median(ours), statistics.median(raw), cache


def _example(raw: bytes) -> bytes:
    request = decode(raw)
    actions = [sanitise_action(bytes(a), n) for n, a in enumerate(request.actions)]
    return features.example(sanitise_context(bytes(request.context_features)), actions)


def answered(raw: bytes, held: Held, cache: ActionCache, loop: Loop = LOOP) -> tuple[bytes, bytes]:
    """The answer to a body, and what is written down of it."""
    decision = decide(decode(raw), is_plain(raw), loop, held, cache)
    now = time.time()
    return decision.body, log_line(decision, now, False) + mark(decision.event_id, now)


def main() -> None:
    """Print the ratios."""
    print("Rank in process / raw VW parse + predict on the same example (10 + 10 features an action):")
    for actions in (4, 10, 50):
        for seen, bound in ((True, 2.5), (False, 4.5)):
            ours, raw, cache = measure(actions, seen)
            kind = "seen before" if seen else "all new    "
            goal = f"  (goal at most {bound})" if actions == 50 else ""
            print(
                f"  {actions:3} actions, {kind}: {ours / raw:.2f}x  ({ours:.0f} / {raw:.0f} us)"
                f"  cache {len(cache)} actions, {cache.size / 1e6:.2f} of {cache.max_bytes / 1e6:.0f} MB{goal}"
            )


if __name__ == "__main__":
    main()
