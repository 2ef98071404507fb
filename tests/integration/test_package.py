"""What is deployed, and nothing else: what .funcignore lets through, with requirements.txt alone; and the image."""

import ast
import json
import re
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
import requests

from localhost.setup import NO_NETWORK_SIGNS
from tests.integration.dockerfile import Image, Instruction, inherited, instructions
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
    image: Image


def run(*command: str | Path, cwd: Path) -> str:
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def files() -> list[str]:
    """The files of the repository, committed or about to be."""
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    return [name for name in names if (ROOT / name).is_file()]


def let_through(folder: Path) -> list[str]:
    """The files of the repository, and of its litter, that .funcignore lets through, by Git's own reading of it."""
    for name in files():
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
    tree, app, root, worker = (tmp_path_factory.mktemp(name) for name in ("tree", "app", "root", "worker"))
    for name in let_through(tree):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / name, app / name)
    with zipfile.ZipFile(tree / "package.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(path for path in app.rglob("*") if path.is_file()):
            packed.write(file, file.relative_to(app))
    image = Image((ROOT / "Dockerfile").read_text(), (ROOT / ".dockerignore").read_text(), files(), root)
    image.copy(0)
    began = time.monotonic()
    # The image's own first step does it: an environment, and requirements.txt alone.
    installed = image.run(0, 0)
    if installed.returncode and any(sign in installed.stderr for sign in NO_NETWORK_SIGNS):
        pytest.skip("THE PACKAGE IS NOT TESTED: the package index cannot be reached")
    assert installed.returncode == 0, installed.stderr
    home = root / "venv"
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
    return Site(app, str(home / "bin" / "python"), worker, told, image)


def test_it_holds_the_code_and_nothing_else(site: Site) -> None:
    found = {path.relative_to(site.app).as_posix() for path in site.app.rglob("*") if path.is_file()}
    modules = [path for folder in (ROOT / "shared", *ROOT.glob("*_fn")) for path in folder.rglob("*.py")]
    page = [path for path in (ROOT / "ui_fn" / "static").rglob("*") if path.is_file()]

    assert found == {"function_app.py", "host.json", "requirements.txt"} | {
        path.relative_to(ROOT).as_posix() for path in (*modules, *page)
    }


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
    everything = f"function_app, {SDKS}"
    run(site.python, "-c", f"import {everything}", cwd=site.app)  # the bytecode is there, as it is in Azure

    app, served, sdks = (
        min(float(run(site.python, "-c", IMPORT.format(modules), cwd=site.app)) for _ in range(3))
        for modules in ("function_app", everything, SDKS)
    )

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


def test_the_image_is_small_closed_and_says_what_it_starts() -> None:
    steps = instructions((ROOT / "Dockerfile").read_text())
    final = steps[-1].stage
    bases = {step.value.split()[0] for step in steps if step.name == "FROM"}

    assert len(bases) == 1  # what was compiled for one fits the other
    assert re.fullmatch(r"python:3\.13-slim-\w+", bases.pop())
    users = [step.value for step in steps if (step.stage, step.name) == (final, "USER")]
    assert users == ["10001:10001"]  # a number: platforms that forbid root see that it is none
    after = [step.name for step in steps[steps.index(Instruction(final, "USER", users[0])) :]]
    assert not {"RUN", "COPY"} & set(after)
    assert [step.name for step in steps if step.stage == final].count("RUN") == 0
    for step in steps:
        if step.name == "RUN":
            assert "requirements" in step.value  # nothing is installed but what is pinned
            assert "curl" not in step.value
        if step.name == "ENV":
            assert not re.search(r"KEY|SECRET|STORAGE|TOKEN", step.value)
        if step.name == "ENTRYPOINT":
            assert isinstance(json.loads(step.value), list)  # no shell between it and the signals
    assert [step.value for step in steps if step.name == "EXPOSE"] == ["8080"]


def test_a_dockerfile_that_is_not_understood_is_no_good_one() -> None:
    with pytest.raises(ValueError, match="ADD is no instruction"):
        instructions("FROM a\nADD https://x /y\n")


def test_the_image_serves_the_app_to_several_replicas(site: Site, storage: str) -> None:
    installed = site.image.run(0, 1)
    assert installed.returncode == 0, installed.stderr
    final = site.image.steps[-1].stage
    site.image.copy(final)
    app = site.image.root / "app"
    held = {path.relative_to(app).parts[0] for path in app.rglob("*.py")}
    assert held == {"function_app.py", "localhost", "shared", *(path.name for path in ROOT.glob("*_fn"))}
    settings = {"RANKLOOP_STORAGE": storage, "AzureWebJobsStorage": storage, "RANKLOOP_KEY": "k"}
    entry = " ".join(site.image.entry()).replace("0.0.0.0", "127.0.0.1").replace("--port 8080", "--port 0").split()
    process = subprocess.Popen(
        entry, cwd=app, env=inherited({**site.image.environment(final), **settings}), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    try:
        ready = process.stdout.readline()
        assert ready.startswith("ready http://127.0.0.1:"), process.stderr.read()
        key = {"Ocp-Apim-Subscription-Key": "k", "Content-Type": "application/json"}
        event = json.dumps({"actions": [{"id": "a", "features": [{"x": 1}]}]})
        address = ready.split()[1]
        ranked = requests.post(f"{address}/personalizer/v1.0/rank", data=event, headers=key, timeout=60)
        assert (ranked.status_code, ranked.json()["rewardActionId"]) == (201, "a")
        assert requests.get(f"{address}/admin/functions", timeout=60).status_code == 401
        ask = [part.replace("http://127.0.0.1:8080", address.rstrip("/")) for part in site.image.health()]
        run(*ask, cwd=app)
        with pytest.raises(AssertionError, match="404"):
            run(*(part.replace("/live", "/dead") for part in ask), cwd=app)
    finally:
        process.terminate()
        _, said = process.communicate(timeout=90)
    assert process.returncode == 0, said
    assert said == ""  # no key, above all
