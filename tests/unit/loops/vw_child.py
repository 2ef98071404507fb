"""Turns trials of learning policies into what VW makes of each: `ok`, `refused` or `died`, in processes of their own.

A policy that VW dies of ends its process, and another one goes on behind it; what VW writes stays in the folder.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from shared.learning import trial
from shared.learning.trial import Trial

ROOT = Path(__file__).resolve().parents[3]
DEADLINE = 300.0
"""Seconds; generous: it only bounds how long a broken run hangs."""


def try_all(trials: Sequence[Trial], folder: Path) -> list[str]:
    """What becomes of each, in an empty folder."""
    answers: list[str] = []
    while len(answers) < len(trials):
        ended = subprocess.run(
            [sys.executable, "-m", "tests.unit.loops.vw_child"],
            input=msgspec.json.encode(trials[len(answers) :]),
            cwd=folder,
            env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=DEADLINE,
            check=False,
        )
        answers += ended.stdout.decode().splitlines()
        if len(answers) < len(trials):
            assert ended.returncode != 0
            answers.append("died")
    return answers


def main() -> None:
    """Read trials from the standard input."""
    for one in msgspec.json.decode(sys.stdin.buffer.read(), type=list[Trial]):
        print("refused" if trial.verdict(one).problem else "ok", flush=True)


if __name__ == "__main__":
    main()
