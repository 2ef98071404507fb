"""Every document gets a right decision, which is joined and learned, or a refusal; and leaves the heap whole.

A twenty-fifth of FUZZ_DOCUMENTS documents, 5,000 at least; tests/fuzz sends all of them, to all routes, and looks at
the answers' form alone. `hostile.body(number)` makes the one that a failure names.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.ranking import hostile

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = max(int(os.environ.get("FUZZ_DOCUMENTS", "0")) // 25, 5000)
BATCH = 5000
PATIENCE = 300
"""Seconds for a batch; it takes ten on a slow machine, so more is a hang."""


def run(first: int, end: int, progress: Path, *options: str, **environment: str) -> dict[str, int]:
    """Send the documents [first, end) through a process of their own; fails with the number of the guilty one."""
    command = [sys.executable, "-m", "tests.unit.ranking.fuzz_child", str(first), str(end), str(progress), *options]
    try:
        ended = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"document {progress.read_text().strip()} hangs")
    if ended.returncode:
        guilty = progress.read_text().strip() if progress.exists() else "none"
        body = hostile.body(int(guilty))[:2000] if guilty.isdigit() else b""
        pytest.fail(f"exit code {ended.returncode} at document {guilty}: {body!r}\n{ended.stderr[-4000:]}")
    figures: dict[str, int] = json.loads(ended.stdout.splitlines()[-1])
    return figures


@pytest.mark.no_cover
@pytest.mark.parametrize("first", range(0, DOCUMENTS, BATCH))
def test_every_document_gets_a_decision_or_a_refusal(first: int, tmp_path: Path) -> None:
    end = min(first + BATCH, DOCUMENTS)

    figures = run(first, end, tmp_path / "progress")

    print(f"documents {first} to {end - 1}: {figures}")  # shown by pytest -s
    assert figures["decided"] + figures["refused"] == end - first
    # Both ways are meant to be tried: a generator that is always refused tests nothing.
    assert min(figures["decided"], figures["refused"]) >= (end - first) / 5
    assert figures["multi_slot_decided"] >= (end - first) / 25


@pytest.mark.no_cover
@pytest.mark.parametrize("first", range(0, DOCUMENTS, BATCH))
def test_every_document_that_hypothesis_draws_gets_one_too(first: int, tmp_path: Path) -> None:
    count = min(BATCH, DOCUMENTS - first)

    figures = run(first, first + count, tmp_path / "progress", "--drawn")

    print(f"drawn: {figures}")  # shown by pytest -s
    assert figures["documents"] >= 0.9 * count
    assert min(figures["decided"], figures["refused"]) >= count / 50
    assert figures["multi_slot_decided"] >= count / 100


def malloc_checks() -> dict[str, str]:
    """What makes glibc look for heap corruption at every call; since 2.34 in a library of its own."""
    settings = {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
    mapped = Path("/proc/self/maps").read_text().splitlines()
    libc = next((line.split()[-1] for line in mapped if "libc.so.6" in line), "")
    debug = Path(libc).with_name("libc_malloc_debug.so.0") if libc else None
    return {**settings, "LD_PRELOAD": str(debug)} if debug and debug.exists() else settings


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="checks of glibc's malloc")
def test_the_heap_stays_whole(tmp_path: Path) -> None:
    first = DOCUMENTS  # other documents than above
    count = min(BATCH, DOCUMENTS // 10)

    figures = run(first, first + count, tmp_path / "progress", **malloc_checks())

    assert figures["documents"] == count


def test_a_process_that_dies_of_a_document_is_seen(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"exit code -\d+ at document 2:"):
        run(0, 3, tmp_path / "progress", "--unsanitised")


def test_the_same_number_makes_the_same_document() -> None:
    assert [hostile.body(n) for n in range(200)] == [hostile.body(n) for n in range(200)]
    assert len({hostile.body(n) for n in range(200)}) > 190
