"""Turns the locks into the advisories that are known against what they pin: `make audit`, where a database answers.

Code 0: every lock was audited, and nothing is known. 1: something is. 2: a lock was not audited, which is said in as
many words: a lock that nobody could look at is not a sound one.
"""
# ruff: noqa: S603 - it starts fixed programs, without a shell

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from localhost.azurite import node  # noqa: E402 - a file outside the packages finds them only now
from localhost.setup import PIP_INSTALL  # noqa: E402 - the same

PYTHON_LOCKS = ("requirements.txt", "requirements-local.txt", "requirements-dev.txt")
NODE_FOLDERS = (".", "tests/contract/js")
PATIENCE = 300.0
"""Seconds that one lock may take."""


class NotAudited(Exception):
    """Nothing can be said of a lock; the text says why."""


class Audited(NamedTuple):
    """How many packages were looked up, and what is known against them, a line each."""

    packages: int
    known: list[str]


def python_advisories(said: str) -> Audited:
    """What pip-audit found, of its JSON.

    Raises:
        NotAudited: it is none, or a package was not looked up.
    """
    dependencies = _json(said).get("dependencies")
    if not dependencies:
        raise NotAudited("pip-audit named no package")
    if skipped := [part["name"] for part in dependencies if "skip_reason" in part]:
        # And says that nothing is known of the rest, with code 0, be there none.
        raise NotAudited(f"{len(skipped)} of {len(dependencies)} packages were not looked up, {skipped[0]} among them")
    known = [
        f"{part['name']} {part['version']}: {advisory['id']}, mended in {', '.join(advisory['fix_versions']) or 'none'}"
        for part in dependencies
        for advisory in part["vulns"]
    ]
    return Audited(len(dependencies), known)


def node_advisories(said: str) -> Audited:
    """What `npm audit` found, of its JSON.

    Raises:
        NotAudited: it is none, or an error.
    """
    report = _json(said)
    if "vulnerabilities" not in report:
        raise NotAudited(f"npm audit gave no report: {str(report.get('message') or report.get('error'))[:300]}")
    known = [f"{name}: {found['severity']}, {found['range']}" for name, found in report["vulnerabilities"].items()]
    return Audited(report["metadata"]["dependencies"]["total"], known)


def _json(said: str) -> dict[str, Any]:
    try:
        found = json.loads(said)
    except ValueError as error:
        raise NotAudited("no advisory database answered") from error
    if not isinstance(found, dict):
        raise NotAudited("no advisory database answered as such")
    return found


def commands() -> list[tuple[str, list[str], Callable[[str], Audited]]]:
    """Each lock, what asks for it, and what reads the answer. Locks are read as they are: nothing is resolved."""
    pip_audit = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--progress-spinner=off"]
    npm = [str(node()), str(node().parent.parent / "lib/node_modules/npm/bin/npm-cli.js"), "audit", "--json"]
    return [
        *((lock, [*pip_audit, "--format=json", "-r", lock], python_advisories) for lock in PYTHON_LOCKS),
        *(
            (f"{f}/package-lock.json", [*npm, "--package-lock-only", "--prefix", f], node_advisories)
            for f in NODE_FOLDERS
        ),
    ]


def install() -> bool:
    """Have pip-audit beside the other packages; whether it is there."""
    if importlib.util.find_spec("pip_audit") is None:
        pip = [sys.executable, *PIP_INSTALL, "--quiet", "-r", "requirements-audit.txt"]
        return subprocess.run(pip, cwd=ROOT, check=False).returncode == 0
    return True


def audit(command: Sequence[str], read: Callable[[str], Audited]) -> Audited:
    """Ask, and read the answer.

    Raises:
        NotAudited: there was none in time, or none that says anything.
    """
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise NotAudited(f"no answer within {PATIENCE:.0f} s") from error
    try:
        return read(done.stdout)
    except NotAudited as error:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise NotAudited(f"{error}{f' ({said[-1].strip()[:300]})' if said else ''}") from None


def main() -> int:
    """Audit each lock, and sum up in the last line."""
    if not install():
        print("NOT AUDITED: pip-audit could not be installed.")
        return 2
    packages, known, failed = 0, 0, 0
    for lock, command, read in commands():
        try:
            found = audit(command, read)
        except NotAudited as error:
            print(f"NOT AUDITED: {lock}: {error}", flush=True)
            failed += 1
            continue
        print(f"{lock}: {found.packages} packages, {len(found.known)} advisories", flush=True)
        print("".join(f"  {line}\n" for line in found.known), end="")
        packages, known = packages + found.packages, known + len(found.known)
    if failed:
        print(f"NOT AUDITED: {failed} of {len(commands())} locks. Nothing is known of what they pin.")
        return 2
    print(f"Audited: {packages} packages, {known} advisories.")
    return int(known > 0)


if __name__ == "__main__":
    sys.exit(main())
