"""The published documents' own code, run as it stands in the documents: an app that moves here changes nothing else.

The code is taken from the documents when the test runs. Each change to it is listed below with how often it applies,
and a change that does not apply exactly that often fails the test.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.contract.conftest import DEADLINE, KEY, SEEDS, Deployment, seed
from tests.contract.loops import make_loop

QUICKSTART = seed("000_*.txt")
MULTI_SLOT = seed("001_*.txt")
NOTEBOOK = seed("002_*.txt")
CHARTED = Path(__file__).with_name("run_charted.py")
DATA = ("coffee.json", "users.json", "example-rankrequest.json")
ACTIONS = {"pasta", "bbq", "bao", "hummus", "veg_platter"}
EVENTS = 5
"""Rank calls of one cycle of the quickstart."""


class Edit(NamedTuple):
    """One change to a document's code."""

    old: str
    new: str
    times: int


def edited(code: str, edits: list[Edit]) -> str:
    for edit in edits:
        assert code.count(edit.old) == edit.times, edit
        code = code.replace(edit.old, edit.new)
    return code


def blocks(document: Path) -> list[str]:
    """The Python blocks of a document, in order."""
    return re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


def run(code: str, folder: Path, answers: str = "", runner: Path | None = None) -> str:
    """Run a document's program, by a runner or as it is, with what its reader would type; returns what it printed."""
    program = folder / "program.py"
    program.write_text(code)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RANKLOOP_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, *([str(runner)] if runner else []), str(program)],
        cwd=folder,
        env={**kept, "MPLBACKEND": "Agg", "MPLCONFIGDIR": str(folder)},
        input=answers,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def counted(served: Deployment) -> tuple[int, int]:
    """How many rank calls, and how many rewards, the instance has answered."""
    counters = served.kept.health()["counters"]
    return counters.get("http.201", 0), counters.get("http.204", 0)


def quickstart_edits(endpoint: str) -> list[Edit]:
    return [
        Edit("<paste-your-personalizer-endpoint-here>", endpoint, 1),
        Edit("<paste-your-personalizer-key-here>", KEY, 1),
    ]


def check_quickstart(output: str, cycles: int) -> None:
    events = cycles * EVENTS
    assert output.count("Rank API response: {'") == events
    chosen = re.findall(r"^Personalizer recommended action (\w+) and it was shown", output, re.MULTILINE)
    assert len(chosen) == events
    assert set(chosen) <= ACTIONS
    rewards = re.findall(r"^A reward score of (\S+) was sent to Personalizer\.$", output, re.MULTILINE)
    assert len(rewards) == events
    assert set(rewards) <= {"0.0", "1.0"}


@pytest.mark.skipif(QUICKSTART is None, reason=f"no published quickstart (000_*.txt) in {SEEDS.name}/seeds")
def test_the_quickstart_runs(served: Deployment, tmp_path: Path) -> None:
    assert QUICKSTART is not None
    before = counted(served)
    # Its last two blocks are the advice of the next test: they stand in for the end of the sixth.
    program = "\n".join(blocks(QUICKSTART)[:6])

    output = run(edited(program, quickstart_edits(f"{served.kept.endpoint}/")), tmp_path, answers="\nx\nQ\n")

    check_quickstart(output, cycles=3)
    assert output.count("Press Q to exit") == 3
    assert counted(served) == (before[0] + 3 * EVENTS, before[1] + 3 * EVENTS)


@pytest.mark.skipif(QUICKSTART is None, reason=f"no published quickstart (000_*.txt) in {SEEDS.name}/seeds")
def test_the_quickstart_generates_sample_events(served: Deployment, tmp_path: Path) -> None:
    assert QUICKSTART is not None
    *parts, replaced, replacement = blocks(QUICKSTART)
    assert len(parts) == 6
    before = counted(served)
    edits = [
        Edit(replaced, replacement, 1),  # as the document says
        Edit("for i in range(0,1000):", "for i in range(0,20):", 1),
        *quickstart_edits(f"{served.kept.endpoint}/"),
    ]

    output = run(edited("\n".join(parts), edits), tmp_path)

    check_quickstart(output, cycles=20)
    # The set of preferences went over the wire: without Amy a hundred draws of three users would be a wonder.
    assert "User: Amy" in output
    assert counted(served) == (before[0] + 20 * EVENTS, before[1] + 20 * EVENTS)


@pytest.mark.skipif(MULTI_SLOT is None, reason=f"no published quickstart (001_*.txt) in {SEEDS.name}/seeds")
def test_the_multi_slot_quickstart_runs(served: Deployment, tmp_path: Path) -> None:
    assert MULTI_SLOT is not None
    loop = make_loop(served)
    loop.use_slots()
    before = counted(served)
    # What comes after the ninth block shows pieces of it once more.
    program = "\n".join(blocks(MULTI_SLOT)[:9])
    assert "'apim-subscription-id': RESOURCE_KEY" in program
    edits = [
        Edit("https://<REPLACE-WITH-YOUR-PERSONALIZER-ENDPOINT>.cognitiveservices.azure.com", f"{loop.endpoint}/", 1),
        Edit("<REPLACE-WITH-YOUR-PERSONALIZER-KEY>", loop.key, 1),
    ]

    output = run(edited(program, edits), tmp_path, answers="1\n2\ny\nn\n\n4\n3\nn\ny\nq\n")

    shown = re.findall(r"^Personalizer service decided you should display: (.+) in slot (\w+)$", output, re.MULTILINE)
    assert [slot for _, slot in shown] == ["BigHeroPosition", "SmallSidebar"] * 2
    for big, small in zip(shown[::2], shown[1::2], strict=True):
        assert big[0] != small[0]
        assert big[0] in {"Red-Polo-Shirt-432", "Tennis-Racket-133", "XBox-Series X-117"}
        assert small[0] in {"Red-Polo-Shirt-432", "31-Inch-Monitor-771", "XBox-Series X-117"}
    assert output.count("Great! The application will send Personalizer a reward of 1") == 2
    assert counted(served) == (before[0] + 2, before[1] + 2)


def notebook_edits(endpoint: str) -> list[Edit]:
    return [
        # What the document asks its reader to fill in, a slash at the endpoint's end included; and shorter runs.
        Edit("https://<your-resource-name>.cognitiveservices.azure.com/", endpoint, 1),
        Edit("<your-resource-key>", KEY, 1),
        Edit("num_requests = 200\n", "num_requests = 60\n", 1),
        Edit("num_requests = 2000\n", "num_requests = 40\n", 1),
        # Faults of the document, which stop it anywhere: a missing import, and two lines that are indented too far.
        Edit("import json\n", "import datetime\nimport json\n", 1),
        Edit("\n         total =  total + reward\n", "\n        total =  total + reward\n", 1),
        Edit("\n             total = 0\n", "\n            total = 0\n", 1),
    ]


@pytest.mark.skipif(NOTEBOOK is None, reason=f"no published notebook (002_*.txt) in {SEEDS.name}/seeds")
def test_the_notebook_runs(served: Deployment, tmp_path: Path) -> None:
    assert NOTEBOOK is not None
    for name in DATA:
        shutil.copy(SEEDS / "data" / name, tmp_path)
    before = counted(served)
    program = edited("\n".join(blocks(NOTEBOOK)), notebook_edits(f"{served.kept.endpoint}/"))

    output = run(program, tmp_path, runner=CHARTED)

    lines = output.splitlines()
    assert "User count 4" in lines
    assert "Coffee count 4" in lines
    # Model properties: at the beginning, and ten times in each run.
    assert lines.count("-----checking model") == 1 + 10 + 10
    assert output.count("-----checking model\n<Response [200]>\n{'creationTime': '") == 21
    assert output.count("-----model updated: ") == 21
    settings = re.findall(
        r"^-----checking service settings\n<Response \[200\]>\n(.*)\n<Response \[200\]>\n(.*)$", output, re.MULTILINE
    )
    assert len(settings) == 2
    for policy, configuration in settings:
        assert "'arguments': '--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::'" in policy
        assert "'defaultReward': 0.0, 'rewardAggregation': 'earliest', 'explorationPercentage': 0.2" in configuration
    assert output.count("<Response [") == output.count("<Response [200]>") == 21 + 2 * 2
    results = re.findall(
        r"^   (\d+) None (\w+) (\w+) (\w+) (Cappucino|Cold brew|Iced mocha|Latte) ([01])$", output, re.MULTILINE
    )
    assert [int(result[0]) for result in results] == [*range(1, 61), *range(1, 41)]
    rewards = [int(result[-1]) for result in results]
    tens = [sum(rewards[n : n + 10]) for n in range(0, 100, 10)]
    charts = [line for line in lines if line.startswith("plot") or line == "show"]
    assert charts == [
        f"plot({list(range(10, 61, 10))}, {tens[:6]})",
        "show",
        f"plot({list(range(10, 41, 10))}, {tens[6:]})",
        "show",
    ]
    assert counted(served) == (before[0] + 100, before[1] + 100)
