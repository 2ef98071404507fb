"""Holds the documents to the code: settings, counters, files and links that they name."""

import re
from pathlib import Path

import pytest

from shared.health.catalogue import CATALOGUE
from shared.telemetry.instruments import COUNT, DISTRIBUTIONS, GAUGES, PREFIX

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OPERATIONS = (ROOT / "docs/operations.md").read_text()
SOURCES = [
    path
    for package in ("shared", "localhost", *(path.name for path in ROOT.glob("*_fn")))
    for path in (ROOT / package).rglob("*.py")
]


def documented(column: str) -> set[str]:
    """The code spans in the first cells of the tables of operations.md."""
    rows = re.findall(r"^\|([^|]*)\|", OPERATIONS, re.MULTILINE)
    return {name for row in rows for name in re.findall(column, row)}


def test_every_setting_that_the_code_reads_is_documented_and_no_other() -> None:
    read = {name for path in SOURCES for name in re.findall(r"\bRANKLOOP_[A-Z_]+[A-Z]", path.read_text())}

    assert documented(r"`(RANKLOOP_[A-Z_]+)`") == read


def test_every_counter_is_documented_and_no_other() -> None:
    counted = {
        name
        for path in SOURCES
        for name in re.findall(
            r'(?:counters\.add|\.count)\(\s*f?"([a-z_{}]+\.[a-z_{}.]+)"', path.read_text(), re.IGNORECASE
        )
    }
    counted = {re.sub(r"\{[^}]*\}", "*", name) for name in counted}
    named = {re.sub(r"<[^>]*>", "*", name) for name in documented(r"`([a-z]+\.[a-z_<>]+)`")} - {PREFIX + COUNT}

    assert counted, "the pattern finds no counter any more"
    missing = {name for name in counted if "*" not in name} - named
    assert not missing
    unknown = {name for name in named if "*" not in name and not _matches(name, counted)}
    assert not unknown


def test_every_metric_is_documented_with_its_unit_and_told_by_the_code() -> None:
    section = OPERATIONS.split("## What leaves the process")[1].split("\n## ")[0]
    told = dict(re.findall(r"^\| `rankloop\.([a-z_.]+)` \| ([^|]+) \|", section, re.MULTILINE))
    units = {"s": "s", "By": "bytes", "1": "", "{line}": "lines", "{call}": "calls", "{finding}": "findings"}
    known = {**{name: units[one.unit] for name, one in {**DISTRIBUTIONS, **GAUGES}.items()}, COUNT: "times"}

    assert told == known
    code = "\n".join(path.read_text() for path in SOURCES)
    for name in DISTRIBUTIONS:
        assert f'.measure("{name}"' in code or f'.measure(\n            "{name}"' in code, name
    for name in GAUGES:
        assert f'.worst("{name}"' in code or f'"{name}": ' in code.split("def _readings")[1][:400], name


def test_every_alert_is_documented_and_no_other() -> None:
    rules = (ROOT / "infra/alerts.bicep").read_text().split("resource group")[0]
    text = (ROOT / "docs/deploy.md").read_text().split("## Alerts")[1].split("\n## ")[0]

    named = {
        name for cell in re.findall(r"^\|([^|]*)\|", text, re.MULTILINE) for name in re.findall(r"`([\w-]+)`", cell)
    }
    assert named == {*re.findall(r"name: '([\w-]+)'", rules), "storage-fails"}


def test_every_finding_is_documented_with_its_severity_and_no_other() -> None:
    section = OPERATIONS.split("## What health finds")[1].split("\n## ")[0]
    told = dict(re.findall(r"^\| `([a-zA-Z]+)`(?: \((error|info)\))? \|", section, re.MULTILINE))

    assert {code: severity or "warning" for code, severity in told.items()} == {
        code: severity for code, (severity, _) in CATALOGUE.items()
    }


@pytest.mark.parametrize("name", ["operations.md", "map.md"])
def test_no_table_tells_of_the_same_thing_twice(name: str) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", (ROOT / "docs" / name).read_text(), re.MULTILINE)
    told = [(table, names) for table in tables for row in table.splitlines()[2:] if (names := _names(row))]

    assert told
    assert [row for row in told if told.count(row) > 1] == []


def _names(row: str) -> tuple[str, ...]:
    """What a row is of, where its first cell is all code."""
    cell = row.split("|")[1]
    return () if re.sub(r"`[^`]*`", "", cell).strip(" ,") else tuple(re.findall(r"`[^`]*`", cell))


def _matches(name: str, counted: set[str]) -> bool:
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) for pattern in counted)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(document: Path) -> None:
    named = re.findall(
        r"`((?:shared|localhost|tests|bench|demo|docs|[a-z_]+_fn)/[A-Za-z0-9_./*-]*)`", document.read_text()
    )
    for name in named:
        assert list(ROOT.glob(name.rstrip("/"))), f"{document.name}: {name}"


def test_every_decision_record_is_in_the_index_and_every_reference_leads_to_one() -> None:
    records = {path.name for path in (ROOT / "docs/adr").glob("0*.md")}
    index = (ROOT / "docs/adr/README.md").read_text()

    assert set(re.findall(r"\((\d{4}-[^)]+)\)", index)) == records
    numbers = {name[:4] for name in records}
    for path in SOURCES:
        for number in re.findall(r"(?:ADR |adr/)(\d{4})", path.read_text()):
            assert number in numbers, f"{path}: ADR {number}"
