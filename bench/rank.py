"""Rank in process, body bytes to response bytes without the journal, against raw VW on the same examples."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

import pylibvw
from vowpalwabbit import Workspace

from bench.documents import body, make_actions, rank_request
from shared.contract.requests import rank_request as decode
from shared.learning.model import Learner, ServingModel
from shared.log.records import mark
from shared.loops.policy import DEFAULT_ARGUMENTS
from shared.ranking import features
from shared.ranking.features import ActionCache, is_plain, sanitise_action, sanitise_context
from shared.ranking.model_cache import Held
from shared.ranking.rank import decide, log_line

ROUNDS = 15
REQUESTS = 100


def trained_model(bodies: Sequence[bytes]) -> bytes:
    """A model that has learned one event of each body."""
    learner = Learner(DEFAULT_ARGUMENTS, None)
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
    vw = _raw_vw(data)
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
                _rank(b, held, cache)
        ours.append(_time(lambda b: _rank(b, held, cache), bodies))
        raw.append(_time(vw, examples))
    return statistics.median(ours), statistics.median(raw), cache


def _raw_vw(model: bytes) -> Callable[[bytes], list[float]]:
    """VW alone: parse an example, predict, take the distribution."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(model)
        file.flush()
        workspace = Workspace(f"-i {file.name} -t --json --quiet --ring_size 8 --epsilon 0.2")

    def predict(example: bytes) -> list[float]:
        examples = pylibvw.vw._parse(workspace, example.decode())
        pylibvw.vw.predict_multi(workspace, examples)
        distribution: list[float] = examples[0].get_action_scores()
        pylibvw.vw._finish_example_multi_ex(workspace, examples)
        return distribution

    return predict


def _example(raw: bytes) -> bytes:
    request = decode(raw)
    actions = [sanitise_action(bytes(a), n) for n, a in enumerate(request.actions)]
    return features.example(sanitise_context(bytes(request.context_features)), actions)


def _rank(raw: bytes, held: Held, cache: ActionCache) -> tuple[bytes, bytes]:
    decision = decide(decode(raw), is_plain(raw), "0" * 32, held, cache)
    now = time.time()
    return decision.body, log_line(decision, now, False) + mark(decision.event_id, now)


def _time(call: Callable[[bytes], object], inputs: Sequence[bytes]) -> float:
    started = time.thread_time()
    for given in inputs:
        call(given)
    return (time.thread_time() - started) / len(inputs) * 1e6


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
