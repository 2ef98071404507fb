"""Rank over HTTP while an evaluation runs on the same machine, against the same server without one.

The server is one process, as `make run` starts it, with the pieces of the queue in processes beside it, over Azurite.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench.evaluate import coffee
from bench.http import Round, Served, call, install, measure, served
from localhost.azurite import Azurite
from localhost.config import QUEUES_SETTING
from shared.child import cpu_seconds
from shared.contract import instants
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.checkpoint import Checkpoint
from shared.log.joined import Window
from shared.storage.azure import AzureStorage

CORES = os.cpu_count() or 1
CALLERS = (1, 4)
ACTIONS = 10
ROUNDS = 7
SECONDS = 4.0
EVENTS, WINDOWS = 20_000, 10
STARTS = 1_700_000_000 // 3600 * 3600
PATIENCE = 120.0
NEW = "api-version=2022-09-01-preview"


class Meant(NamedTuple):
    """What a round met, and how many cores the evaluation had meanwhile."""

    round: Round
    cores: float


async def log(connection: str, loop_id: str) -> None:
    """Give a loop a log of the coffee."""
    lines = coffee(EVENTS).lines
    async with AzureStorage(connection) as storage:
        for n in range(WINDOWS):
            window = Window(STARTS + 60 * n, STARTS + 60 * n + 60)
            part = lines[n * len(lines) // WINDOWS : (n + 1) * len(lines) // WINDOWS]
            await joined.write(storage.blobs, loop_id, window, joined.DSJSON, part)
        await checkpoints.save(storage.blobs, loop_id, Checkpoint(watermark=STARTS + 60 * WINDOWS), None)


def children(server: Served) -> list[int]:
    """The processes beside a server in which pieces are done."""
    told = Path(f"/proc/{server.pid}/task").glob("*/children")
    return [int(pid) for one in told for pid in one.read_text().split()]


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"it took longer than {PATIENCE:.0f} s")
        time.sleep(0.05)


def without(server: Served, callers: int) -> Meant:
    """A round without an evaluation."""
    until(lambda: not children(server))
    return Meant(measure(server, ACTIONS, SECONDS, callers), 0.0)


def during(server: Served, callers: int, name: str) -> Meant:
    """A round beside one, which is canceled afterwards."""
    span = {"startTime": instants.spell(STARTS), "endTime": instants.spell(STARTS + 3600)}
    asked = {"name": name, **span, "policies": [], "enablePolicyOptimization": True}
    call(server, "PUT", f"personalizer/evaluations/{name}?{NEW}", asked)
    # The first piece is a single one, for which all others wait.
    until(lambda: bool(_job(server, name)["piecesDone"]) and len(children(server)) == CORES)
    before = _taken(server)
    met = measure(server, ACTIONS, SECONDS, callers)
    taken = _taken(server) - before
    if _job(server, name)["status"] != "Running":
        raise SystemExit("the evaluation was over before the round was")
    call(server, "DELETE", f"personalizer/evaluations/{name}?{NEW}")
    return Meant(met, taken / SECONDS)


def _job(server: Served, name: str) -> Any:
    report = call(server, "GET", f"rankloop/v1/evaluations/{name}")
    return call(server, "GET", f"rankloop/v1/jobs/{report['jobId']}")


def _taken(server: Served) -> float:
    """Seconds of a core that the pieces have had, those that are done included."""
    after_name = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    ended = (int(after_name[13]) + int(after_name[14])) / os.sysconf("SC_CLK_TCK")
    return ended + sum(map(cpu_seconds, children(server)))


def main() -> None:
    """Print the ratios."""
    settings = {f"{QUEUES_SETTING}newBatchThreshold": str(CORES - 1)}
    with tempfile.TemporaryDirectory() as folder, Azurite() as azurite:
        connection = azurite.connection_string
        with served("group", connection, folder, {**settings, "AzureWebJobsStorage": connection}) as server:
            loop_id = call(server, "GET", "personalizer/v1.0/configurations/policy")["name"]
            asyncio.run(install(connection, loop_id, ACTIONS))
            asyncio.run(log(connection, loop_id))
            print(f"Rank over HTTP while an evaluation runs / without, {CORES} cores, {ACTIONS} actions, medians:")
            for callers in CALLERS:
                measure(server, ACTIONS, 2.0, callers)  # the first one warms up
                _print(callers, [
                    (without(server, callers), during(server, callers, f"c{callers}-{n}")) for n in range(ROUNDS)
                ])  # fmt: skip


def _print(callers: int, rounds: list[tuple[Meant, Meant]]) -> None:
    def ratio(what: str) -> float:
        return float(statistics.median(getattr(b.round, what) / getattr(a.round, what) for a, b in rounds))

    def median(which: int, what: str) -> float:
        return float(statistics.median(getattr(one[which].round, what) for one in rounds))

    for what, goal in (("p50", 1.3), ("p99", 2.0)):
        print(
            f"  {callers:2} callers: {what} {ratio(what):.2f}x  ({median(1, what):.1f} / {median(0, what):.1f} ms)"
            f"  (goal at most {goal})"
        )
    cores = statistics.median(one[1].cores for one in rounds)
    print(f"              the rate {ratio('rate'):.2f}x; the evaluation had {cores:.2f} cores meanwhile")


if __name__ == "__main__":
    main()
