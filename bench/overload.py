"""Ten times the sustainable load: what is accepted, how quickly, and what becomes of another loop meanwhile.

`OVERLOAD_SECONDS` says for how long (300). One process serves, as an instance in Azure does: a second one has the
timers, which join and so prune the journal, since Azurite dies near 512 MB of table data.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.flood import SLOTS
from bench.processes import peak_mib
from localhost.azurite import Azurite
from shared.child import cpu_seconds

KEY = "bench"
CALLERS = 32
CONNECTIONS = 800
TIMES = 10
SECOND = 0.2
"""What the second loop asks for, of the sustainable rate."""
ALONE = 10.0
"""Seconds that the sustainable rate, and the second loop alone, are measured for."""
DEADLINE = 0.5
FULL = 400 * 2**20
"""Bytes of Azurite's tables at which the measurement is given up."""


@contextmanager
def served(storage: str, folder: str, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process of the app, and its port."""
    environment = {
        **os.environ,
        "RANKLOOP_STORAGE": storage,
        "AzureWebJobsStorage": storage,
        "RANKLOOP_KEY": KEY,
        "RANKLOOP_DATA": folder,
        "RANKLOOP_JOIN_SCHEDULE": "*/2 * * * * *",
        "RANKLOOP_TRAIN_SCHEDULE": "0 0 0 1 1 *",
        "RANKLOOP_JOURNAL_PRUNE": "true",
        "RANKLOOP_LOG_LEVEL": "error",
    }
    command = [sys.executable, "-m", "localhost", "--port", "0", *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().decode().rsplit(":", 1)[1])
        finally:
            process.terminate()


@dataclass
class Flooded:
    """What a load was answered."""

    told: dict[str, Any]

    @property
    def rate(self) -> float:
        """Accepted calls a second."""
        return float(sum(self.told["accepted"])) / float(self.told["seconds"])

    @property
    def offered(self) -> float:
        """Calls a second."""
        return self.rate + float(sum(self.told["refused"]) + self.told["unsure"]) / float(self.told["seconds"])

    def latency(self, kind: str, share: float) -> float:
        """Seconds within which this share of the accepted or refused calls was answered."""
        counts = self.told[kind]
        left = share * sum(counts)
        for slot, count in enumerate(counts):
            left -= count
            if left <= 0 and count:
                return (slot + 1) / 1000
        return SLOTS / 1000

    def say(self, kind: str) -> str:
        """The latencies of a kind, as parts of the deadline."""
        at = [self.latency(kind, share) for share in (0.5, 0.99, 1.0)]
        parts = ", ".join(
            f"{name} {seconds / DEADLINE:.2f}" for name, seconds in zip(("p50", "p99", "max"), at, strict=True)
        )
        return f"{parts}  ({at[0] * 1000:.0f}, {at[1] * 1000:.0f}, {at[2] * 1000:.0f} ms)"


@contextmanager
def flood(port: int, path: str, rate: float, seconds: float, connections: int = CONNECTIONS) -> Iterator[list[Flooded]]:
    """A load beside the block; afterwards the list holds what it was answered."""
    settings = {
        "port": port, "key": KEY, "path": path, "rate": rate, "connections": connections, "seconds": seconds,
    }  # fmt: skip
    command = [sys.executable, "-m", "bench.flood", json.dumps(settings)]
    found: list[Flooded] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        yield found
        out, _ = process.communicate()
    found.append(Flooded(json.loads(out)))
    if found[0].told["wrong"]:
        raise SystemExit(f"{len(found[0].told['wrong'])} wrong answers; the first is {found[0].told['wrong'][0]}")


def flooded(port: int, path: str, rate: float, seconds: float, connections: int = CONNECTIONS) -> Flooded:
    """What a load was answered."""
    with flood(port, path, rate, seconds, connections) as found:
        pass
    return found[0]


class Watch(threading.Thread):
    """Sees to it that Azurite does not grow too large, and keeps its largest size in bytes and its last."""

    def __init__(self, azurite: Azurite) -> None:
        super().__init__(daemon=True)
        self._azurite = azurite
        self.largest = 0

    def run(self) -> None:
        """Look every two seconds."""
        while True:
            self.largest = max(self.largest, self._azurite.table_bytes)
            if self.largest > FULL:
                print(f"Azurite's tables have {self.largest >> 20} MB: the join does not keep up", file=sys.stderr)
                os._exit(1)
            time.sleep(2)


def call(port: int, method: str, path: str, body: Any = None) -> Any:
    """One call of the API."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Ocp-Apim-Subscription-Key": KEY},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def main() -> None:
    """Print the ratios."""
    seconds = float(os.environ.get("OVERLOAD_SECONDS", "300"))
    with (
        tempfile.TemporaryDirectory() as folder,
        Azurite(Path(folder) / "azurite") as azurite,
        served(azurite.connection_string, folder, "--no-timers") as (worker, port),
        served(azurite.connection_string, folder),
    ):
        call(port, "POST", "/rankloop/v1/loops", {"name": "second"})
        for loop in ("", "/loops/second"):
            path = f"{loop}/personalizer/v1.0/configurations/service"
            call(port, "PUT", path, call(port, "GET", path) | {"rewardWaitTime": "PT5S"})
        watch = Watch(azurite)
        watch.start()
        for loop in ("", "/loops/second"):
            flooded(port, loop, 0, 2.0, CALLERS)
        sustainable = flooded(port, "", 0, ALONE, CALLERS)
        most = sustainable.rate
        before = peak_mib(worker.pid)
        alone = flooded(port, "/loops/second", SECOND * most, ALONE)
        used, began = cpu_seconds(worker.pid), time.monotonic()
        with flood(port, "", TIMES * most, seconds) as hog:
            time.sleep(seconds / 2)
            second = flooded(port, "/loops/second", SECOND * most, max(seconds / 2 - 2, 1.0))
        cores = (cpu_seconds(worker.pid) - used) / (time.monotonic() - began)
        after = flooded(port, "", 0, ALONE, CALLERS)
        peak = peak_mib(worker.pid)
        counters = call(port, "GET", "/rankloop/v1/health")["counters"]
    over = hog[0]
    print(f"Sustainable, {CALLERS} callers, 4 actions, rank and reward in turn: {most:.0f} calls/s")
    print(f"  accepted within / deadline: {sustainable.say('accepted')}")
    print(
        f"{TIMES} times that for {seconds:.0f} s: {over.offered / most:.1f}x came through, {over.told['unsent']} unsent"
    )
    # Callers, storage and the other process want the same cores, as they do not in Azure.
    print(f"  the worker had {cores:.2f} cores of {os.cpu_count()}")
    print(f"  accepted / sustainable: {over.rate / most:.2f}x  ({over.rate:.0f} /s)")
    print(f"  accepted within / deadline: {over.say('accepted')}")
    print(f"  refused: {sum(over.told['refused']) / over.told['seconds'] / over.offered:.1%}")
    print(f"  refused within / deadline: {over.say('refused')}")
    print(
        f"  accepted and not durable in time: {over.told['pending']} ranks pending, {over.told['unsure']} rewards 503"
    )
    print(f"  worker's memory: {peak:.0f} MiB at most  (goal below 400), {before:.0f} before")
    print(f"A second loop that asks for {SECOND:.0%} of the sustainable rate, meanwhile:")
    print(f"  goodput / alone: {second.rate / alone.rate:.2f}x, {sum(second.told['refused'])} refused")
    print(f"  accepted within / deadline: {second.say('accepted')}; alone {alone.say('accepted')}")
    recovered = after.told["last_refusal"]
    print(f"Afterwards: the last refusal after {recovered:.2f} s, then {after.rate / most:.2f}x sustainable")
    print(f"Azurite's tables: {watch.largest >> 20} MB at most; journal.lost {counters.get('journal.lost', 0)}")


if __name__ == "__main__":
    main()
