"""No document to any route may end the process, hang it, get a 5xx, or take more of a core than the budget says.

FUZZ_DOCUMENTS documents (20,000) of the seed FUZZ_SEED (1), in FUZZ_PROCESSES processes (1). What a failure names is
written to a file, and `python -m tests.fuzz.yardstick MODELS FILE` sends it again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tests.fuzz import policies
from tests.fuzz.child import Report
from tests.fuzz.documents import ROUTES, Document, document

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = int(os.environ.get("FUZZ_DOCUMENTS", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
PROCESSES = int(os.environ.get("FUZZ_PROCESSES", "1"))
BATCH = 20_000
PATIENCE = 900
"""Seconds for a batch; it takes thirty, so more is a hang."""
MEASURED = 8
"""Calls of each class that are measured again, the dearest ones."""
MOST = 1.25
"""What a call may take of a core, as a share of the yardstick: 1, and what such measurements differ by."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the models."""
    folder = tmp_path_factory.mktemp("models")
    policies.prepare(folder)
    return folder


def write_down(number: int) -> Path:
    """The file of a document, which outlives the tests."""
    folder = Path(tempfile.gettempdir()) / "rankloop-fuzz"
    folder.mkdir(exist_ok=True)
    file = folder / f"{SEED}-{number}.json"
    file.write_text(document(SEED, number).described())
    return file


def run(models: Path, first: int, end: int, progress: Path, *deadly: int) -> Report:
    """Send the documents [first, end) through a process of their own; fails with the guilty one."""
    given = [str(given) for given in (models, SEED, first, end, progress, *deadly)]
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.child", *given],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"the process hangs at {_guilty(progress)}")
    if ended.returncode:
        pytest.fail(f"exit code {ended.returncode} at {_guilty(progress)}:\n{ended.stderr[-4000:]}")
    return msgspec.json.decode(ended.stdout.splitlines()[-1], type=Report)


def _guilty(progress: Path) -> str:
    number = progress.read_text().strip() if progress.exists() else ""
    return f"document {number} of seed {SEED}: {write_down(int(number))}" if number else "no document"


def test_no_document_gets_a_5xx_ends_the_process_or_takes_more_than_the_budget(models: Path, tmp_path: Path) -> None:
    total = Report()
    batches = [(first, min(first + BATCH, DOCUMENTS)) for first in range(0, DOCUMENTS, BATCH)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        for report in pool.map(lambda batch: run(models, batch[0], batch[1], tmp_path / f"{batch[0]}"), batches):
            total.add(report)

    print(_told(total))  # shown by pytest -s
    wrong = [f"document {n} of seed {SEED}, {write_down(n)}: {how}" for n, how in sorted(total.wrong.items())[:20]]
    assert not wrong, "\n".join(wrong)
    assert len(total.routes) == len(ROUTES)
    assert min(total.routes.values()) >= DOCUMENTS // len(ROUTES) // 3
    # All ways are meant to be tried: a generator that is always refused tests nothing.
    for kind in ("rank", "interactions", "size"):
        answers = {code: n for name in ("rank", "rank_slots") for code, n in total.statuses[f"{kind}: {name}"].items()}
        assert min(answers["201"], answers["400 InvalidRankRequest"]) >= sum(answers.values()) / 50

    dear = []
    for place, calls in total.dearest.items():
        numbers = [number for _, number in calls[:MEASURED]]
        measured = sorted(zip(costs(models, numbers), numbers, strict=True), reverse=True)
        print(f"{place}: the dearest took {measured[0][0]:.2f} of the budget, document {measured[0][1]}")
        dear += [f"document {n} of seed {SEED}, {place}: {write_down(n)}: {x:.2f}" for x, n in measured if x > MOST]
    assert not dear, "\n".join(dear)


def costs(models: Path, numbers: Iterable[int]) -> list[float]:
    """What documents take of a core, in yardsticks."""
    files = [str(write_down(number)) for number in numbers]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.yardstick", str(models), *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    return [ratio for ratio, _ in json.loads(ended.stdout.splitlines()[-1])]


def _told(report: Report) -> str:
    lines = [f"{report.documents} documents of seed {SEED}, {report.documents / report.seconds:.0f} a second a process"]
    for name, statuses in sorted(report.statuses.items()):
        lines.append(f"  {name}: " + ", ".join(f"{told} {n}" for told, n in sorted(statuses.items())))
    return "\n".join(lines)


def test_a_process_that_dies_of_a_document_is_seen(models: Path, tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=rf"exit code -\d+ at document 2 of seed {SEED}: \S+-2.json:"):
        run(models, 0, 4, tmp_path / "progress", 2)


def test_the_same_number_makes_the_same_document() -> None:
    made = [document(SEED, n) for n in range(300)]

    assert made == [document(SEED, n) for n in range(300)]
    assert made != [document(SEED + 1, n) for n in range(300)]


def test_a_document_that_was_written_down_is_the_same_one() -> None:
    for n in range(300):
        made = document(SEED, n)
        assert Document.read(made.described()) == made
