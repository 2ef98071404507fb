"""Durable Rank over HTTP, against the same server with one insert an event and with no journal at all."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from localhost.azurite import Azurite

CALLERS = 32
ROUNDS = 3
SECONDS = 4.0
KEY = "bench"


@contextmanager
def served(journal: str, connection: str, folder: str) -> Iterator[int]:
    """The port of a server with this journal."""
    environment = {
        **os.environ,
        "RANKLOOP_STORAGE": connection,
        "RANKLOOP_KEY": KEY,
        "RANKLOOP_DATA": folder,
        "RANKLOOP_JOIN_SCHEDULE": "0 0 0 1 1 *",
        "RANKLOOP_TRAIN_SCHEDULE": "0 0 0 1 1 *",
    }
    command = [sys.executable, "-m", "bench.serve", journal, "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().decode().rsplit(":", 1)[1])
        finally:
            process.terminate()


def rate(port: int, actions: int, seconds: float) -> float:
    """Durable answers a second."""
    command = [sys.executable, "-m", "bench.load", str(port), KEY, str(CALLERS), str(actions), str(seconds)]
    counts = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if set(counts) != {"201"}:
        raise SystemExit(f"the load was not answered by 201 alone: {counts}")
    return float(counts["201"]) / seconds


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
                rates: dict[str, list[float]] = {"group": [], "single": [], "none": []}
                for n in range(ROUNDS + 1):
                    for name, port in (("group", group), ("single", single), ("none", none)):
                        measured = rate(port, actions, SECONDS if n else 1.0)
                        if n:
                            rates[name].append(measured)
                middle = {name: statistics.median(values) for name, values in rates.items()}
                goals = ("  (goal at least 4)", "  (goal at least 0.30)") if actions == 50 else ("", "")
                print(f"Durable Rank over HTTP, {CALLERS} callers, {actions} actions: {middle['group']:.0f} /s")
                print(f"  / one SDK insert an event: {middle['group'] / middle['single']:.2f}x{goals[0]}")
                print(f"  / the journal left out:    {middle['group'] / middle['none']:.2f}x{goals[1]}")


if __name__ == "__main__":
    main()
