"""Runs every measurement, or the ones named: `python -m bench rank loops`. Each is the module of its name."""

from __future__ import annotations

import sys

from bench import (
    cold,
    coverage,
    during,
    evaluate,
    explanation,
    http,
    idle,
    join,
    loops,
    merge,
    metrics,
    multi_slot,
    overload,
    panning,
    rank,
    requests,
    resident,
    start,
    train,
)

MEASUREMENTS = {
    "rank": rank.main,
    "explanation": explanation.main,
    "multi_slot": multi_slot.main,
    "loops": loops.main,
    "join": join.main,
    "train": train.main,
    "merge": merge.main,
    "evaluate": evaluate.main,
    "during": during.main,
    "metrics": metrics.main,
    "http": http.main,
    "requests": requests.main,
    "idle": idle.main,
    "cold": cold.main,
    "resident": resident.main,
    "start": start.main,
    "overload": overload.main,
    "panning": panning.main,
    "coverage": coverage.main,
}


def main(names: list[str]) -> int:
    """Run the named measurements, or all."""
    if unknown := set(names) - set(MEASUREMENTS):
        print(
            f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}", file=sys.stderr
        )
        return 2
    for name in names or MEASUREMENTS:
        MEASUREMENTS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
