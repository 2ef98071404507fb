"""Holds the documents to the code: settings, counters, files and links that they name."""

import ast
import re
from pathlib import Path

import pytest

from shared.health.catalogue import CATALOGUE
from shared.telemetry.instruments import COUNT, DISTRIBUTIONS, GAUGES, PREFIX
from tests.unit.test_imports import LAYERS

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
    told = [(table, row.split("|")[1].strip()) for table in tables for row in table.splitlines()[2:]]

    assert told
    assert [row for row in told if told.count(row) > 1] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_table_is_whole(document: Path) -> None:
    """A row behind an empty line is no part of the table above it: it is shown as text."""
    for table in re.findall(r"(?:^\|.*\n)+", document.read_text() + "\n", re.MULTILINE):
        lines = table.splitlines()
        assert len(lines) > 1 and re.fullmatch(r"\|(?: *:?-+:? *\|)+", lines[1]), lines[0]


def test_the_map_tells_the_layers_of_imports() -> None:
    section = (ROOT / "docs/map.md").read_text().split("## Import direction")[1].split("\n## ")[0]
    rule = " ".join(section.split()).split("imports those before it: ")[1].split(". ")[0]

    told = [{f"shared.{name}" for name in re.findall(r"`(\w+)`", layer)} for layer in rule.split("→")]
    assert told == [set(layer) for layer in LAYERS]


def test_every_member_of_health_is_documented_and_no_other() -> None:
    section = OPERATIONS.split("## Is it well?")[1].split("\n## ")[0].split("| Counter |")[0]
    told = {name for row in re.findall(r"^\|([^|]*)\|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}

    assert told == set(_outer_keys(ast.parse((ROOT / "shared/edge/health.py").read_text())))


def _outer_keys(node: ast.AST) -> list[str]:
    """The keys of all dictionaries in some code that stand in no other one."""
    if isinstance(node, ast.Dict):
        return [str(key.value) for key in node.keys if isinstance(key, ast.Constant)]
    return [name for child in ast.iter_child_nodes(node) for name in _outer_keys(child)]


def test_the_readme_counts_the_queries_that_there_are() -> None:
    queries = (ROOT / "docs/queries.md").read_text()
    named = re.findall(r"its columns, and (\w+) queries", (ROOT / "README.md").read_text())

    assert [f"## {name.capitalize()} queries" in queries for name in named] == [True]


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
