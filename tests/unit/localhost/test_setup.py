import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from localhost import setup
from localhost.setup import SetupError

Version = namedtuple("Version", "major minor micro releaselevel serial")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with lock files and a .venv that starts, in which nothing is installed for real."""
    for folder in setup.DEV_NODE.values():
        (tmp_path / folder / "node_modules").mkdir(parents=True)
    node_files = [f"{folder}/{name}" for folder in setup.DEV_NODE.values() for name in setup.NODE_FILES]
    for name in [*setup.DEV_FILES, setup.RUNTIME_FILE, *node_files]:
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(setup, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(setup, "BROWSERS", ("python3",))  # as if there were one on any machine
    (tmp_path / ".venv").mkdir()
    return tmp_path


@pytest.fixture
def steps(clone: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    taken: list[str] = []
    monkeypatch.setattr(setup, "step", lambda title, *rest: taken.append(title))
    return taken


def test_what_is_current_is_left_alone(steps: list[str]) -> None:
    setup.set_up("run")
    assert steps == ["Python packages", "Azurite"]
    setup.set_up("run")
    assert steps == ["Python packages", "Azurite"]


def test_run_installs_nothing_that_only_tests_need(clone: Path, steps: list[str]) -> None:
    stamp = clone / "tests/contract/js/node_modules/.installed"

    setup.set_up("run")
    assert not stamp.exists()
    setup.set_up("dev")
    assert stamp.exists()
    wanted = ["Python packages", "Azure's own Python worker", "Microsoft's JavaScript SDKs", "axe-core"]
    assert steps[2:] == wanted


def test_dev_needs_more_than_run_and_covers_it(steps: list[str]) -> None:
    setup.set_up("dev")
    setup.set_up("run")
    setup.set_up("dev")

    assert steps == [
        "Python packages",
        "Azure's own Python worker",
        "Azurite",
        "Microsoft's JavaScript SDKs",
        "axe-core",
    ]


@pytest.mark.parametrize(
    ("user", "tools", "rights"), [(0, {"apt-get"}, []), (1000, {"apt-get", "sudo"}, ["sudo", "-n"])]
)
def test_a_browser_is_installed_where_there_is_none(
    clone: Path, monkeypatch: pytest.MonkeyPatch, user: int, tools: set[str], rights: list[str]
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(setup, "step", lambda title, command, *rest: commands.append(command))
    monkeypatch.setattr(setup, "BROWSERS", ("no-such-browser",))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in tools else None)
    monkeypatch.setattr(os, "geteuid", lambda: user)

    setup.set_up("run")
    assert not any("/bin/apt-get" in command for command in commands)
    setup.set_up("dev")

    apt = [command for command in commands if "/bin/apt-get" in command]
    assert [command[: len(rights) + 2] for command in apt] == [
        [*rights, "/bin/apt-get", step] for step in ("update", "install")
    ]
    assert apt[-1][-len(setup.BROWSER_PACKAGES) :] == list(setup.BROWSER_PACKAGES)


@pytest.mark.parametrize(("user", "tools"), [(0, set()), (1000, {"apt-get"})])
def test_a_browser_that_cannot_be_installed_is_told_of(
    clone: Path,
    steps: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    user: int,
    tools: set[str],
) -> None:
    monkeypatch.setattr(setup, "BROWSERS", ("no-such-browser",))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in tools else None)
    monkeypatch.setattr(os, "geteuid", lambda: user)

    setup.set_up("dev")

    assert "Chromium" not in steps
    assert "There is no chromium here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mode", "file", "again"),
    [
        ("run", "requirements.txt", ["Python packages"]),
        ("run", "package-lock.json", ["Azurite"]),
        ("run", "tests/contract/js/package-lock.json", []),
        ("dev", "tests/contract/js/package-lock.json", ["Microsoft's JavaScript SDKs"]),
    ],
)
def test_a_changed_lock_is_installed_again(
    clone: Path, steps: list[str], mode: str, file: str, again: list[str]
) -> None:
    setup.set_up(mode)
    steps.clear()

    (clone / file).write_text("changed")
    setup.set_up(mode)

    assert steps == again


def test_npm_is_told_which_folder(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(setup, "step", lambda title, command, *rest: commands.append(command))

    setup.set_up("dev")

    npm = [command for command in commands if "ci" in command]
    prefixes = [part for command in npm for part in command if part.startswith("--prefix=")]
    assert prefixes == [f"--prefix={clone / folder}" for folder in (".", "tests/contract/js", "tests/ui/js")]
    assert all("--ignore-scripts" in command for command in npm)


def test_a_step_cut_off_is_taken_again(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(title: str, *rest: object) -> None:
        raise SetupError(title)

    monkeypatch.setattr(setup, "step", fail)
    for _ in range(2):
        with pytest.raises(SetupError, match="Python packages"):
            setup.set_up("run")


def test_a_broken_venv_is_made_anew(clone: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    broken = clone / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(setup, "PYTHON", broken)

    with pytest.raises(SetupError, match=r"new \.venv does not start"):
        setup.set_up("run")
    assert steps == [".venv"]


def test_no_venv_module_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(SetupError, match="apt install python3-venv"):
        setup.make_venv()


def test_an_old_python_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", Version(3, 10, 13, "final", 0))
    monkeypatch.setattr(shutil, "which", lambda name: None)

    with pytest.raises(SetupError, match=r"needs Python 3\.11 or newer and found 3\.10\.13"):
        setup.use_new_enough_python()


def tool(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_step_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    setup.step("Things", tool("print('a flood\\n' * 1000)"), "Things failed")

    out, err = capfd.readouterr()
    assert re.fullmatch(r"Setting up: Things \.\.\. \d+ s\n", out)
    assert err == ""


def test_a_failed_step_shows_the_end_of_what_was_said(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SetupError, match="Things failed; the lines above say why"):
        setup.step(
            "Things",
            tool("import sys; print('first\\n' * 50, 'no such wheel', file=sys.stderr); sys.exit(3)"),
            "Things failed",
        )

    lines = capfd.readouterr().err.splitlines()
    assert lines[-1] == " no such wheel"
    assert len(lines) == 15


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("NewConnectionError: Failed to establish a new connection", "Check the network"),
        ("npm error code EAI_AGAIN", "Check the network"),
        ("because ensurepip is not available", "apt install python3-venv"),
    ],
)
def test_known_failures_say_what_to_do(said: str, told: str) -> None:
    with pytest.raises(SetupError, match=told):
        setup.step("Things", tool(f"import sys; print({said!r}); sys.exit(1)"), "Things failed")


def test_a_missing_tool_is_told() -> None:
    with pytest.raises(SetupError, match=r"Things failed: .*No such file"):
        setup.step("Things", ["/no/such/tool"], "Things failed")


def test_an_error_is_one_line_and_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(mode: str) -> None:
        raise SetupError("Do this.")

    monkeypatch.setattr(setup, "set_up", fail)

    assert setup.main(["run"]) == 1
    assert capsys.readouterr().err == "Do this.\n"


def test_an_unknown_mode_is_told() -> None:
    assert setup.main(["walk"]) == 2


def test_the_set_up_of_this_clone_runs_as_a_plain_file() -> None:
    # As make calls it, without the packages that it installs: -S hides them, so a stray import fails here.
    code = "import runpy; runpy.run_path('localhost/setup.py')"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=setup.ROOT, check=True)


def test_the_locks_name_no_index_and_no_registry() -> None:
    for file in setup.ROOT.glob("requirements*.txt"):
        assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", file.read_text()), file.name
    locks = [setup.ROOT / folder / "package-lock.json" for folder in setup.DEV_NODE.values()]
    azurite, sdks, axe = (json.loads(lock.read_text())["packages"] for lock in locks)
    assert not any("resolved" in package for package in [*azurite.values(), *sdks.values(), *axe.values()])
    assert azurite["node_modules/azurite"]["version"] == "3.36.0"
    assert sdks["node_modules/@azure/cognitiveservices-personalizer"]["version"] == "2.0.1"
    assert sdks["node_modules/@azure-rest/ai-personalizer"]["version"] == "1.0.0-beta.1"


def test_help_names_every_target_and_setting() -> None:
    told = subprocess.run(["make", "help"], cwd=setup.ROOT, check=True, capture_output=True, text=True).stdout
    targets = re.findall(r"^([a-z-]+):", (setup.ROOT / "Makefile").read_text(), re.MULTILINE)

    for name in [*targets, "RANKLOOP_PORT", "RANKLOOP_KEY", "RANKLOOP_DATA"]:
        assert re.search(rf"^  {name}\s+\S", told, re.MULTILINE), name
