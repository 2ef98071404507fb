"""Holds the import rules of the design by reading the sources: who may know VW, Azure's SDKs, Functions, and whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRIGGERS = ("rank_fn", "reward_fn", "manage_fn", "join_timer_fn", "train_timer_fn", "ui_fn", "work_fn")

LAYERS = (
    ("shared.child", "shared.contract", "shared.counters", "shared.storage"),
    ("shared.telemetry",),
    ("shared.clock", "shared.config", "shared.freshness", "shared.guard", "shared.jobs", "shared.work"),
    ("shared.log",),
    ("shared.loops", "shared.learning"),
    ("shared.evaluation",),
    ("shared.access", "shared.health", "shared.ranking"),
    ("shared.warmstart",),
    ("shared.adoption", "shared.joining", "shared.readiness", "shared.runs", "shared.sweep", "shared.training"),
    ("shared.optimization",),
    ("shared.app",),
    ("shared.edge",),
)
"""From the bottom up: a module may import those of lower layers, and of its own package."""

_AZURE = ("blobs", "calls", "container", "errors", "queues", "tables")
_STORAGE = ("blobs", "container", "queues")
KEEPERS = {
    # who may be imported: by which of our modules alone
    "vowpalwabbit": {"shared.learning.model"},
    "pylibvw": {"shared.learning.model"},
    "azure.data": {"shared.storage.azure", "shared.storage.azure.tables"},
    "azure.storage": {"shared.storage.azure", *(f"shared.storage.azure.{name}" for name in _STORAGE)},
    "azure.identity": {"shared.storage.azure"},
    "azure.core": {"shared.storage.azure", *(f"shared.storage.azure.{name}" for name in _AZURE)},
    "azure.functions": {"shared.edge.web"},
    "azure.monitor": {"shared.telemetry.export"},
    "aiohttp": {"shared.access.discovery"},
    "cryptography": {"shared.learning.signed"},
    "opentelemetry": {"shared.telemetry.export"},
    "jwt": {"shared.access.discovery", "shared.access.tokens"},
    "scipy": {"shared.evaluation.intervals"},
}
MAX_LINES = 300


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files_of(*packages: str) -> list[Path]:
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert found
    return found


SHARED = {module_name(path): path for path in files_of("shared")}


def imports(path: Path) -> Iterator[str]:
    """The modules a file imports, wherever in it; a name taken from a package of ours counts as the module it is."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in SHARED else node.module


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer_of(module: str) -> tuple[int, str]:
    """How high a module stands, and as part of what."""
    for height, packages in enumerate(LAYERS):
        for package in packages:
            if within(module, package):
                return height, package
    pytest.fail(f"{module} stands in no layer: give it one in LAYERS")


@pytest.mark.parametrize("library", KEEPERS)
def test_a_library_is_known_to_its_keeper_alone(library: str) -> None:
    importers = {name for name, path in SHARED.items() if any(within(module, library) for module in imports(path))}

    assert importers == KEEPERS[library]


@pytest.mark.parametrize("name", [name for name in SHARED if name != "shared"])
def test_imports_lead_downwards(name: str) -> None:
    height, package = layer_of(name)
    for imported in imports(SHARED[name]):
        if within(imported, "shared") and imported != "shared":
            below, other = layer_of(imported)
            assert below < height or other == package, imported


@pytest.mark.parametrize("path", files_of(*TRIGGERS), ids=module_name)
def test_a_trigger_knows_the_app_its_settings_the_edge_and_functions(path: Path) -> None:
    allowed = {"__future__", "os", "azure.functions", "shared.app", "shared.config", "shared.edge.web", "shared.work"}

    assert set(imports(path)) <= allowed


def test_the_trigger_folders_are_all_here() -> None:
    assert {path.parent.name for path in ROOT.glob("*_fn/__init__.py")} == set(TRIGGERS)


def test_nothing_in_shared_knows_who_calls_it() -> None:
    outside = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} - {"shared"}
    outside.add("function_app")
    assert {"localhost", "tests", *TRIGGERS} <= outside

    for name, path in SHARED.items():
        assert not {module.split(".")[0] for module in imports(path)} & outside, name


def test_no_imports_go_in_circles() -> None:
    graph = {name: {module for module in imports(path) if module in SHARED} for name, path in SHARED.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for imported in graph[name]:
                visit(imported, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    assert done == set(SHARED)


@pytest.mark.parametrize("path", files_of("shared", "localhost", *TRIGGERS), ids=module_name)
def test_a_module_is_short_and_says_first_what_it_is(path: Path) -> None:
    text = path.read_text()
    docstring = ast.get_docstring(ast.parse(text))

    assert len(text.splitlines()) <= MAX_LINES
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ",", ":", ";")) or len(docstring.splitlines()) > 1


@pytest.mark.parametrize("path", files_of("shared"), ids=module_name)
def test_no_module_is_named_for_nothing(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
