"""A hundred loops in one process: their memory, what a call to one of them costs, and what settings cost to read.

Each serves a model of its own. A call goes from the loop's name to the answer: settings, model, decision, journal.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.documents import body, make_actions, rank_request
from bench.rank import trained_model
from bench.warm import ACTIONS, WATCHED

LOOPS = 100
EVENTS = 5_000
"""Events that the model has learned, each over actions of its own, so that nearly half of its weights are in use."""
ROUNDS = 25


@contextmanager
def ranking(loops: int, model: Path) -> Iterator[Callable[[str], Any]]:
    """What asks a process that ranks for so many loops; see `warm.serve`."""
    command = [sys.executable, "-m", "bench.warm", str(loops), str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask(what: str) -> Any:
            stdin.write(f"{what}\n")
            stdin.flush()
            return json.loads(stdout.readline())

        yield ask


def main() -> None:
    """Print memory, ratios and counts."""
    rng = random.Random(4)
    model = trained_model([body(rank_request(rng, make_actions(rng, ACTIONS)), str(n)) for n in range(EVENTS)])
    with tempfile.NamedTemporaryFile() as file:
        file.write(model)
        file.flush()
        with ranking(1, Path(file.name)) as single, ranking(LOOPS, Path(file.name)) as many:
            single("memory")
            first, warm = many("memory")
            rounds = [(single("one"), many("one"), many("all")) for _ in range(ROUNDS + 1)][1:]
            reads = many("reads")
    alone, one, turns = map(statistics.median, zip(*rounds, strict=True))
    print(f"{LOOPS} loops in one process, each with an 18-bit model that has learned {EVENTS:,} events:")
    print(f"  resident memory: {warm:.0f} MiB with all warm  (goal at most 1024), {first:.0f} MiB with one")
    print(f"    a further loop: {(warm - first) / (LOOPS - 1):.1f} MiB, with a model file of {len(model) / 2**20:.1f}")
    print(f"  Rank, {ACTIONS} actions, by its loop's name, journal in memory / with one loop ({alone:.0f} us):")
    print(f"    calls to one of {LOOPS} warm loops: {one / alone:.2f}x  ({one:.0f} us)  (goal about 1.0)")
    print(f"    calls to all in turn: {turns / alone:.2f}x  ({turns:.0f} us): no loop finds its weights in a CPU cache")
    print(f"  blob reads in {WATCHED:.0f} s of calls to all loops, a call a millisecond:")
    print(f"    deployment.json: {reads['deployment']}  (goal at most one each 2 s)")
    print(f"    the loops' settings: {reads['settings']}  (goal 0)")
    print(f"    the loops' model pointers: {reads['models']}, {reads['models'] / LOOPS:.0f} a loop")


if __name__ == "__main__":
    main()
