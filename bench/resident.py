"""The memory of a worker that serves one loop under load, with its timers, against a process of the libraries alone."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import cold
from bench.load import Met, load
from bench.processes import peak_mib
from localhost.azurite import Azurite

CALLERS = 32
SECONDS = 60.0
ACTIONS = (4, 50)
GOAL = 300
"""MiB."""
ALONE = (
    "import bench.cold, os; bench.cold.imports(); from bench.processes import peak_mib; print(peak_mib(os.getpid()))"
)


def main() -> None:
    """Print the peaks, and their ratio."""
    alone = float(subprocess.run([sys.executable, "-c", ALONE], check=True, capture_output=True).stdout)
    with tempfile.TemporaryDirectory() as folder, Azurite(Path(folder) / "azurite") as azurite:
        size, _ = asyncio.run(cold.prepare(azurite.connection_string))
        environment = {
            **os.environ,
            "RANKLOOP_STORAGE": azurite.connection_string,
            "RANKLOOP_KEY": cold.KEY,
            "RANKLOOP_DATA": folder,
            "RANKLOOP_JOURNAL_PRUNE": "true",
        }
        command = [sys.executable, "-m", "localhost", "--port", "0"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline().decode().rsplit(":", 1)[1])
                begun = peak_mib(process.pid)
                mets = [asyncio.run(load(port, cold.KEY, CALLERS, actions, SECONDS)) for actions in ACTIONS]
                peak = peak_mib(process.pid)
            finally:
                process.terminate()
    print(
        f"A worker with one loop, a model of {size / 1e6:.2f} MB, {CALLERS} callers for {len(ACTIONS) * SECONDS:.0f} s:"
    )
    print(f"  answered: {', '.join(map(_told, ACTIONS, mets))}")
    print(f"  most memory / that of the libraries alone ({alone:.0f} MiB): {peak / alone:.2f}x")
    print(f"  most memory: {peak:.0f} MiB  (goal at most {GOAL}), {begun:.0f} before the first call")


def _told(actions: int, met: Met) -> str:
    return f"{met.statuses[201]:,} ranks of {actions} actions ({json.dumps(dict(met.statuses))} by status)"


if __name__ == "__main__":
    main()
