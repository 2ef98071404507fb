"""Turns calls into what they cost of a core, as a share of what the budget is meant to be.

    python -m tests.fuzz.yardstick MODELS FILE...

tells it of documents that a failure has written to files, and their answers. The last line of its output is JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from shared.learning.model import ServingModel
from shared.ranking.features import Context, example, sanitise_action
from tests.fuzz.documents import Document
from tests.fuzz.served import Served

TIMES = 5
ROUNDS = 3
ENOUGH = 1.0
"""A share of the yardstick that needs no second look."""


class Yardstick:
    """Pairs of features, as many as the budget admits: 30 million over ten actions."""

    def __init__(self, models: Path) -> None:
        self._model = ServingModel((models / "pairs").read_bytes(), "--epsilon 0.2")
        context = Context(orjson.dumps([{f"f{n}": n + 1 for n in range(2430)}]), frozenset(), 0)
        actions = [{"id": f"a{k}", "features": [{f"g{n}": 1 for n in range(8)}]} for k in range(10)]
        self._example = example(context, [sanitise_action(orjson.dumps(action), 0) for action in actions])

    def measure(self, times: int = TIMES) -> float:
        """Seconds of a core: the least of a few times, which other processes disturb least."""
        least = float("inf")
        for _ in range(times):
            before = time.thread_time()
            self._model.score(self._example)
            least = min(least, time.thread_time() - before)
        return least


async def cost(served: Served, yardstick: Yardstick, made: Document) -> float:
    """What a document costs: the dearer of VW having seen no namespace and all of them, measured in a few rounds.

    Each is the least of a few times, beside the yardstick, since the pace of a shared machine changes; and where a
    round seems dear, the least of the rounds.
    """
    found = []
    for seen in (False, True):
        least = float("inf")
        for _ in range(ROUNDS):
            beside = yardstick.measure()
            seconds = await served.cost(made, TIMES, seen)
            least = min(least, seconds / max(beside, yardstick.measure()))
            if least <= ENOUGH:
                break
        found.append(least)
    return max(found)


async def main(models: Path, files: Sequence[Path]) -> None:
    served, yardstick = Served(models), Yardstick(models)
    await served.start()
    gc.collect()
    gc.freeze()
    found = []
    for file in files:
        made = Document.read(file.read_text())
        response, _ = await served.send(made)
        found.append([await cost(served, yardstick, made), response.status_code])
        print(f"{file}: {found[-1][0]:.2f} of the budget, {made.label}: {response.status_code}",
              response.get_body()[:300].decode("utf-8", "replace"))  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
