"""Durable Rank over HTTP, against the same server with the journal left out and with one insert an event."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.documents import body, make_actions, rank_request
from bench.rank import trained_model
from localhost.azurite import Azurite
from shared.child import cpu_seconds
from shared.learning import pointer
from shared.loops import policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.storage.azure import AzureStorage

CALLERS = 32
ROUNDS = 5
SECONDS = 4.0
KEY = "bench"


@dataclass(frozen=True)
class Served:
    """A server with some journal: its port and its process."""

    port: int
    pid: int


@dataclass(frozen=True)
class Round:
    """What a load met: answers a second, the worker's CPU milliseconds an event, latencies in milliseconds."""

    rate: float
    cpu: float
    p50: float
    p99: float


@contextmanager
def served(journal: str, connection: str, folder: str, more: Mapping[str, str] | None = None) -> Iterator[Served]:
    """A server with this journal, see `bench.serve`, and with more settings."""
    environment = {
        **os.environ,
        "RANKLOOP_STORAGE": connection,
        "RANKLOOP_KEY": KEY,
        "RANKLOOP_DATA": folder,
        "RANKLOOP_JOIN_SCHEDULE": "0 0 0 1 1 *",
        "RANKLOOP_TRAIN_SCHEDULE": "0 0 0 1 1 *",
        **(more or {}),
    }
    command = [sys.executable, "-m", "bench.serve", journal, "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield Served(int(process.stdout.readline().decode().rsplit(":", 1)[1]), process.pid)
        finally:
            process.terminate()


def measure(server: Served, actions: int, seconds: float, callers: int = CALLERS, loop_path: str = "") -> Round:
    """Load a server's default loop, or that below the path, with durable ranks."""
    before = cpu_seconds(server.pid)
    command = [
        sys.executable,
        "-m",
        "bench.load",
        str(server.port),
        KEY,
        str(callers),
        str(actions),
        str(seconds),
        loop_path,
    ]
    met = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if set(met["statuses"]) != {"201"}:
        raise SystemExit(f"the load was not answered by 201 alone: {met['statuses']}")
    events = met["statuses"]["201"]
    return Round(events / seconds, 1000 * (cpu_seconds(server.pid) - before) / events, met["p50"], met["p99"])


def call(server: Served, method: str, path: str, given: object = None) -> Any:
    """Call an operation that must succeed; returns the JSON of its answer, if it has any."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/{path}",
        None if given is None else json.dumps(given).encode(),
        {"Ocp-Apim-Subscription-Key": KEY, "Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request) as answer:
        told = answer.read()
    return json.loads(told) if told else None


async def install(connection: str, loop_id: str, actions: int) -> None:
    """Have a loop served by a model of the default policy, over the actions that `bench.load` asks about."""
    rng = random.Random(3)
    raw = body(rank_request(rng, make_actions(rng, actions)), "0" * 32)
    learned = policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT])
    async with AzureStorage(connection) as storage:
        model = trained_model([raw] * 200)
        await pointer.install(storage.blobs, loop_id, model, learned.training, learned.lineage, 0, time.time())


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as folder, Azurite() as azurite:
        connection = azurite.connection_string
        with (
            served("group", connection, folder) as group,
            served("single", connection, folder) as single,
            served("none", connection, folder) as none,
        ):
            for actions in (4, 50):
                rounds: dict[str, list[Round]] = defaultdict(list)
                for n in range(ROUNDS + 1):
                    for name, server in (("group", group), ("single", single), ("none", none)):
                        met = measure(server, actions, SECONDS if n else 1.0)
                        if n:  # the first one warms up
                            rounds[name].append(met)
                _print(actions, rounds)


def _print(actions: int, rounds: dict[str, list[Round]]) -> None:
    def median(name: str, what: str) -> float:
        return float(statistics.median(getattr(met, what) for met in rounds[name]))

    def goal(text: str) -> str:
        return f"  (goal {text})" if actions == 50 else ""

    cpu, rate = median("group", "cpu"), median("group", "rate")
    print(f"Durable Rank over HTTP, {CALLERS} callers, {actions} actions, medians of {ROUNDS} interleaved rounds:")
    print(f"  worker CPU an event / with the journal left out: {cpu / median('none', 'cpu'):.2f}x{goal('at most 2.5')}")
    print(f"  rate / with the journal left out: {rate / median('none', 'rate'):.2f}x{goal('at least 0.30')}")
    print(f"  rate / one SDK insert an event:   {rate / median('single', 'rate'):.2f}x{goal('at least 4')}")
    print(f"  p99 / p50: {median('group', 'p99') / median('group', 'p50'):.2f}x", end="")
    print(f", with the journal left out {median('none', 'p99') / median('none', 'p50'):.2f}x")


if __name__ == "__main__":
    main()
