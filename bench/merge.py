"""What models that learned a log apart and were merged earn, against one that learned all of it in one run."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from bench.news import BEST, UNIFORM, lines, value
from bench.train import JOB
from shared.learning.lesson import learn
from shared.learning.model import Learner, merge

EVENTS = 24_000
SEEDS = 3
POLICIES = {
    "default": "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::",
    "cubic, VW's rate": "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q :: --cubic :Fj",
    "cubic, ips": "--cb_explore_adf --epsilon 0.2 --cb_type ips -l 0.05 --power_t 0 -q :: --cubic :Fj",
}


def learned(arguments: str, given: Sequence[bytes]) -> bytes:
    """The model of one run."""
    learner = Learner(arguments, None)
    learn(learner, given, JOB)
    model = learner.save()
    learner.close()
    return model


def main() -> None:
    """Print what they earn, and the ratios."""
    print(f"Greedy value of a decision, {EVENTS:,} events, {SEEDS} logs; all known {BEST:.4f}, nothing {UNIFORM:.4f}:")
    for name, arguments in POLICIES.items():
        earned: dict[int, list[float]] = {1: [], 2: [], 4: [], 8: []}
        alone = []
        for seed in range(SEEDS):
            log = lines(EVENTS, seed)
            for shards, values in earned.items():
                size = EVENTS // shards
                models = [learned(arguments, log[n * size : (n + 1) * size]) for n in range(shards)]
                values.append(value(merge(models) if shards > 1 else models[0]))
                if shards == 4:
                    alone.append(value(models[0]))
        straight = fmean(earned[1])
        spread = f"{min(earned[1]):.4f} to {max(earned[1]):.4f}"
        print(f"  {name}: one run {straight:.4f} ({spread}); a quarter of the log alone {fmean(alone) / straight:.3f}x")
        for shards, values in earned.items():
            if shards > 1:
                print(f"    {shards} merged: {fmean(values):.4f}, {fmean(values) / straight:.3f}x of one run")


if __name__ == "__main__":
    main()
