"""What is deployed, and nothing else: the files that .funcignore lets through, and the packages of requirements.txt."""

import ast
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from localhost.setup import NO_NETWORK_SIGNS, PIP_INSTALL
from tests.integration.inprocess import Call, HttpResult, run_in_runtime
from tests.integration.served import ROOT

# Left lying about by those who work here; each would be a secret, or megabytes, in Azure.
LITTER = (
    ".azure/prod/.env", ".azurite/x.json", ".env", ".pytest_cache/README.md", ".rankloop/key", ".ruff_cache/x",
    ".timers/x.json", ".venv/lib/x.py", "__azurite_db_blob__.json", "__blobstorage__/x", "htmlcov/index.html",
    "local.settings.json", "node_modules/azurite/package.json", "rank_fn/__pycache__/x.pyc", "shared/notes.md",
)  # fmt: skip
# What Azure puts beside an app: the worker itself.
WORKER = ("azure_functions_runtime", "azurefunctions")
IMPORT = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"
SDKS = "azure.functions, vowpalwabbit, azure.data.tables.aio, azure.storage.blob.aio"


class Site(NamedTuple):
    """A deployment package, unpacked, and an environment with its requirements."""

    app: Path
    python: str
    worker: Path
    told: str


def run(*command: str | Path, cwd: Path) -> str:
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def let_through(folder: Path) -> list[str]:
    """The files of the repository, and of its litter, that .funcignore lets through, by Git's own reading of it."""
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    for name in [name for name in names if (ROOT / name).is_file()]:
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy)
    for name in LITTER:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("litter")
    run("git", "init", "-q", cwd=folder)
    shutil.copyfile(folder / ".funcignore", folder / ".gitignore")
    return run("git", "ls-files", "--others", "--exclude-standard", cwd=folder).splitlines()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    tree, app, home, worker = (tmp_path_factory.mktemp(name) for name in ("tree", "app", "home", "worker"))
    for name in let_through(tree):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / name, app / name)
    with zipfile.ZipFile(tree / "package.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(path for path in app.rglob("*") if path.is_file()):
            packed.write(file, file.relative_to(app))
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=app)
    python = home / "bin" / "python"
    began = time.monotonic()
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, *PIP_INSTALL[2:], "--no-compile", "-r", "requirements.txt"],
        cwd=app, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if installed.returncode and any(sign in installed.stderr for sign in NO_NETWORK_SIGNS):
        pytest.skip("THE PACKAGE IS NOT TESTED: the package index cannot be reached")
    assert installed.returncode == 0, installed.stderr
    for name in WORKER:
        found = find_spec(name)
        assert found
        assert found.submodule_search_locations
        (worker / name).symlink_to(next(iter(found.submodule_search_locations)))
    packages = sum(path.lstat().st_size for path in home.rglob("*") if path.is_file() and not path.is_symlink())
    told = (
        f"package: {sum(1 for path in app.rglob('*') if path.is_file())} files, "
        f"{(tree / 'package.zip').stat().st_size / 1e6:.2f} MB zipped; with its packages {packages / 1e6:.0f} MB, "
        f"installed in {time.monotonic() - began:.0f} s"
    )
    return Site(app, str(python), worker, told)


def test_it_holds_the_code_and_nothing_else(site: Site) -> None:
    found = {path.relative_to(site.app).as_posix() for path in site.app.rglob("*") if path.is_file()}
    code = {
        path.relative_to(ROOT).as_posix()
        for folder in (ROOT / "shared", *ROOT.glob("*_fn"))
        for path in folder.rglob("*.py")
    }

    assert found == {"function_app.py", "host.json", "requirements.txt"} | code


def test_every_module_that_the_code_imports_is_among_its_requirements(site: Site) -> None:
    wanted = set()
    for path in site.app.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                wanted.add(node.module or "")

    assert {"pyarrow.parquet", "jwt", "azure.identity.aio"} <= wanted  # imported in functions, when they are needed
    code = f"import importlib\nfor name in {sorted(wanted)}: importlib.import_module(name)"
    run(site.python, "-c", code, cwd=site.app)


def test_it_loads_ranks_and_learns_where_nothing_else_is(site: Site, storage: str) -> None:
    settings = {
        "RANKLOOP_STORAGE": storage,
        "RANKLOOP_KEY": "k",
        "RANKLOOP_LOG_DEADLINE_MS": "3500",
        "PYTHONPATH": str(site.worker),
    }
    key = {"ocp-apim-subscription-key": "k"}
    event = json.dumps({"actions": [{"id": "a", "features": [{"x": 1}]}], "eventId": "e"})
    rank = Call("rank", "POST", "http://localhost/personalizer/v1.0/rank", event, key, params={"version": "v1.0"})

    outcome = run_in_runtime(site.app, [rank, Call("join_timer"), Call("train_timer")], settings, site.python)

    assert outcome.error is None
    expected = run_in_runtime(ROOT, env={"RANKLOOP_STORAGE": storage})
    assert expected.error is None
    assert outcome.functions == expected.functions
    ranked, joined, trained = outcome.results
    assert isinstance(ranked, HttpResult), ranked
    assert (ranked.status, json.loads(ranked.body)["rewardActionId"]) == (201, "a")
    assert (joined, trained) == (None, None)


def test_how_large_it_is_and_how_long_it_takes_to_import(site: Site, tell: Callable[[str], None]) -> None:
    def seconds(modules: str) -> float:
        # The second time, when the bytecode is there, as it is in Azure.
        return [float(run(site.python, "-c", IMPORT.format(modules), cwd=site.app)) for _ in range(2)][1]

    app, served, sdks = (seconds(f"{name}") for name in ("function_app", f"function_app, {SDKS}", SDKS))

    assert app > 0
    tell(
        f"{site.told}; import of function_app {app:.2f} s, with all that the first call needs {served:.2f} s, "
        f"{served / sdks:.2f} x that of {SDKS} alone ({sdks:.2f} s)"
    )


def test_the_doctor_finds_nothing_wrong_with_it(site: Site) -> None:
    doctor = Path(sys.executable).with_name("azure-functions-doctor")
    plan = ("--hosting-plan", "flex-consumption", "--target-python", "3.13")

    found = json.loads(run(doctor, "doctor", "--path", site.app, "--format", "json", *plan, cwd=site.app))

    items = [item for result in found["results"] for item in result["items"]]
    assert len(items) > 10
    assert [item["rule_id"] for item in items if item["status"] == "fail"] == []
