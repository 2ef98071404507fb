"""Sends documents to an app in a process that may die of one.

    python -m tests.fuzz.child MODELS SEED FIRST END PROGRESS [DEADLY]

Before each document its number is written to the file PROGRESS, so that whoever finds this process dead or hanging
knows the document. The last line of its output is what came of them as JSON, a `Report`. In the place of document
DEADLY, VW is given one that it dies of, past everything that would keep it away.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import resource
import sys
import time
from pathlib import Path

import msgspec

from shared.edge import events
from shared.learning.model import ServingModel
from tests.fuzz.documents import RANKS, Document, document
from tests.fuzz.served import Served, Wrong
from tests.fuzz.yardstick import Yardstick
from tests.unit.ranking.fuzz_child import DEADLY

NOTE = 12
DEAREST = 12
"""Calls of each class that are told."""
_CALLS = (*RANKS, events.reward, events.reward_slots, events.activate, events.activate_slots)


class Report(msgspec.Struct):
    """What came of documents.

    Attributes:
        documents: how many there were.
        seconds: how long they took, with the making of them, and without the start.
        routes: how many each route had, by label.
        statuses: how many answers of each status and code there were, by kind of document and operation.
        dearest: what the dearest calls took of a core, in yardsticks, and their numbers; by class: `ranked`, `refused`
            of a rank, and `called` of rewards and activations. Each was called thrice, beside others.
        wrong: numbers of documents that were answered wrongly, and how.
    """

    documents: int = 0
    seconds: float = 0.0
    routes: dict[str, int] = {}
    statuses: dict[str, dict[str, int]] = {}
    dearest: dict[str, list[tuple[float, int]]] = {}
    wrong: dict[int, str] = {}

    def add(self, other: Report) -> None:
        """Take another one in."""
        self.documents += other.documents
        self.seconds += other.seconds
        self.wrong |= other.wrong
        for route, count in other.routes.items():
            self.routes[route] = self.routes.get(route, 0) + count
        for name, told in other.statuses.items():
            held = self.statuses.setdefault(name, {})
            for status, count in told.items():
                held[status] = held.get(status, 0) + count
        for name, calls in other.dearest.items():
            self.dearest[name] = sorted([*self.dearest.get(name, []), *calls], reverse=True)[:DEAREST]


async def run(models: Path, seed: int, first: int, end: int, note: mmap.mmap, deadly: int) -> Report:
    """Send the documents [first, end) to a new app."""
    report = Report(documents=end - first)
    served = Served(models, trials=1)
    await served.start()
    yardstick = Yardstick(models).measure()
    spent: dict[str, list[tuple[float, int]]] = {"ranked": [], "refused": [], "called": []}
    began = time.monotonic()
    for number in range(first, end):
        note[:NOTE] = b"%12d" % number
        if number == deadly:
            ServingModel((models / "pairs").read_bytes(), "").score(DEADLY)
        made = document(seed, number)
        report.routes[made.label] = report.routes.get(made.label, 0) + 1
        try:
            response, seconds = await served.send(made)
        except Exception as e:  # whatever it is: it is told with its document
            report.wrong[number] = f"{type(e).__name__}: {e}"
            continue
        status, code = response.status_code, response.headers.get("x-ms-error-code", "")
        counted = report.statuses.setdefault(f"{made.kind}: {made.route.operation.__name__}", {})
        told = f"{status} {code}".strip()
        counted[told] = counted.get(told, 0) + 1
        if made.route.operation in _CALLS:
            spent[_class(made, status)].append((seconds / yardstick, number))
    report.seconds = time.monotonic() - began
    for name, calls in spent.items():
        # Once more, since a call may seem dear that had a pause of the process, or of the machine, fall into it.
        numbers = [number for _, number in sorted(calls, reverse=True)[:DEAREST]]
        again = [(await served.cost(document(seed, number), 2, True) / yardstick, number) for number in numbers]
        report.dearest[name] = sorted(again, reverse=True)
    try:
        await served.learn()
    except Wrong as e:
        report.wrong[end - 1] = str(e)
    return report


def _class(made: Document, status: int) -> str:
    if made.route.operation not in RANKS:
        return "called"
    return "ranked" if status == 201 else "refused"


def main(models: Path, seed: int, first: int, end: int, progress: Path, deadly: int = -1) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    with open(progress, "w+b") as file:
        file.write(b" " * NOTE)
        file.flush()
        with mmap.mmap(file.fileno(), NOTE) as note:  # pages of the file: they outlive the process at no cost
            report = asyncio.run(run(models, seed, first, end, note, deadly))
    print(msgspec.json.encode(report).decode())


if __name__ == "__main__":
    given_seed, given_first, given_end, *given_deadly = (int(given) for given in (*sys.argv[2:5], *sys.argv[6:]))
    main(Path(sys.argv[1]), given_seed, given_first, given_end, Path(sys.argv[5]), *given_deadly)
