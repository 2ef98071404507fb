"""What CI asks besides the tests: that no secret is committed, and what a deployment is made of."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LEAKS, SBOM, AUDIT, ON_313 = map(script, ("leaks", "sbom", "audit", "on_313"))
# Put together here, so that this file holds none.
LETTERS = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA" * 3


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"-----BEGIN {'PRIVATE'} KEY-----\n{LETTERS}\n{LETTERS}\n", "a private key"),
        (f"-----BEGIN RSA {'PRIVATE'} KEY-----\\n{LETTERS}{LETTERS}", "a private key"),
        (f"AccountName=a;AccountKey={LETTERS[:86]}==;", "a key of a storage account"),
        (f"https://a.blob.core.windows.net/c?sv=1&sig={LETTERS[:43]}%3D", "a shared access signature"),
        (f"eyJ{LETTERS[:20]}.eyJ{LETTERS[:40]}.{LETTERS[:43]}", "a token"),
        (f"secret is {LETTERS[:3]}8Q~{LETTERS[:34]} there", "a client secret of Entra"),
        (f"ghp_{LETTERS[:36]}", "a key of a cloud or forge"),
        (f'RANKLOOP_KEY = "{LETTERS[:32]}"', "a password"),
        (f'"password": "{LETTERS[:30]}"', "a password"),
    ],
)
def test_a_secret_is_found_and_not_told(text: str, kind: str) -> None:
    found = LEAKS.secrets_in("some/file.py", f"first line\n{text}")

    assert [re.sub(r" \(SHA-256 \w{64}\)", "", told) for told in found] == [f"some/file.py:2: {kind}"]
    assert LETTERS[:12] not in found[0]


@pytest.mark.parametrize("name", [".env", "infra/.env.prod", "local.settings.json", "keys/signing.pem", "id_rsa"])
def test_files_that_hold_secrets_are_found_by_their_names(name: str) -> None:
    assert LEAKS.secrets_in(name, "") == [f"{name}: a file of this name holds secrets"]


@pytest.mark.parametrize(
    "text",
    [
        'KEY = "a-key-of-a-test-a-key-of-a-test"',
        'key="Ocp-Apim-Subscription-Key"',
        f"-----BEGIN {'PRIVATE'} KEY-----",
        "AccountKey=YQ==",
    ],
)
def test_what_opens_nothing_is_none(text: str) -> None:
    assert LEAKS.secrets_in("some/file.py", text) == []


def test_no_secret_is_committed(capsys: pytest.CaptureFixture[str]) -> None:
    assert LEAKS.main([]) == 0, capsys.readouterr().out
    assert re.fullmatch(r"No secrets in \d{3,} files\.\n", capsys.readouterr().out)


def test_a_secret_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".env").write_text("")

    assert LEAKS.main([str(tmp_path / ".env")]) == 1
    assert "a file of this name holds secrets" in capsys.readouterr().out


def test_the_bill_names_every_package_of_the_lock() -> None:
    lock = (ROOT / "requirements.txt").read_text()

    bill = SBOM.bill(lock, "1.0")

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert [f"{part['name']}=={part['version']}" for part in bill["components"]] == [
        line.partition(";")[0].strip() for line in lock.splitlines()
    ]
    assert len({part["bom-ref"] for part in bill["components"]}) == len(bill["components"])
    assert all(part["purl"] == f"pkg:pypi/{part['name']}@{part['version']}" for part in bill["components"])
    licensed = [part for part in bill["components"] if "licenses" in part]
    assert len(licensed) > len(bill["components"]) / 2
    assert bill == SBOM.bill(lock, "1.0")
    assert bill["serialNumber"] != SBOM.bill(lock, "1.1")["serialNumber"]


def test_what_is_not_pinned_is_in_no_bill() -> None:
    with pytest.raises(ValueError, match="'numpy>=2' pins no package"):
        SBOM.components("orjson==3.13.0\nnumpy>=2\n")


ADVISORY = {"id": "PYSEC-1", "fix_versions": ["2.0", "3.0"], "aliases": ["CVE-1"], "description": "..."}


def test_what_is_known_of_python_packages_is_told() -> None:
    sound = {"name": "a", "version": "1.0", "vulns": []}
    known = {"name": "b", "version": "1.0", "vulns": [ADVISORY, {**ADVISORY, "id": "PYSEC-2", "fix_versions": []}]}

    found = AUDIT.python_advisories(json.dumps({"dependencies": [sound, known], "fixes": []}))

    assert found == (2, ["b 1.0: PYSEC-1, mended in 2.0, 3.0", "b 1.0: PYSEC-2, mended in none"])


def test_what_is_known_of_node_packages_is_told() -> None:
    known = {"left-pad": {"name": "left-pad", "severity": "high", "range": "<1.3.1", "via": [], "isDirect": False}}
    report = {"auditReportVersion": 2, "vulnerabilities": known, "metadata": {"dependencies": {"prod": 9, "total": 12}}}

    assert AUDIT.node_advisories(json.dumps(report)) == (12, ["left-pad: high, <1.3.1"])


@pytest.mark.parametrize("read", [AUDIT.python_advisories, AUDIT.node_advisories])
@pytest.mark.parametrize("said", ["", "Traceback", "[]", "null", "{}", '{"dependencies": []}'])
def test_an_answer_that_says_nothing_is_no_audit(read: Any, said: str) -> None:
    with pytest.raises(AUDIT.NotAudited):
        read(said)


def test_a_package_that_was_not_looked_up_or_an_error_is_no_audit() -> None:
    skipped = {"dependencies": [{"name": "a", "skip_reason": "not on PyPI"}]}
    with pytest.raises(AUDIT.NotAudited, match="1 of 1 packages were not looked up, a among them"):
        AUDIT.python_advisories(json.dumps(skipped))
    with pytest.raises(AUDIT.NotAudited, match="audit endpoint returned an error"):
        AUDIT.node_advisories(json.dumps({"message": "audit endpoint returned an error", "error": {}}))


def answering(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    """Have programs of these texts in place of those that ask; each prints its answer."""
    commands = [
        (f"lock {n}", [sys.executable, "-c", answer], AUDIT.python_advisories) for n, answer in enumerate(answers)
    ]
    monkeypatch.setattr(AUDIT, "commands", lambda: commands)
    monkeypatch.setattr(AUDIT, "install", lambda: True)


SOUND = """print('{"dependencies": [{"name": "a", "version": "1.0", "vulns": []}]}')"""
KNOWN = SOUND.replace("[]", f"[{json.dumps(ADVISORY)}]")
SILENT = "import sys; print('the network is unreachable', file=sys.stderr); sys.exit(1)"


@pytest.mark.parametrize(
    ("answers", "code", "last"),
    [
        ((SOUND, SOUND), 0, "Audited: 2 packages, 0 advisories."),
        ((KNOWN, SOUND), 1, "Audited: 2 packages, 1 advisories."),
        ((SOUND, SILENT), 2, "NOT AUDITED: 1 of 2 locks. Nothing is known of what they pin."),
        ((KNOWN, SILENT), 2, "NOT AUDITED: 1 of 2 locks. Nothing is known of what they pin."),
    ],
)
def test_only_what_was_audited_and_is_sound_is_green(
    answers: tuple[str, ...], code: int, last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, *answers)

    assert AUDIT.main() == code
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == last
    assert ("the network is unreachable" in "".join(told)) == (SILENT in answers)


def test_who_has_no_pip_audit_audits_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(AUDIT, "install", lambda: False)

    assert AUDIT.main() == 2
    assert capsys.readouterr().out.startswith("NOT AUDITED")


def test_every_lock_is_asked_about() -> None:
    locks = {path.name for path in ROOT.glob("requirements*.txt")} - {
        "requirements-audit.txt",  # what asks
        "requirements-runtime-test.txt",  # one package, which Azure brings along
    }

    assert locks == set(AUDIT.PYTHON_LOCKS)
    assert all((ROOT / lock).exists() for lock, _, _ in AUDIT.commands())


def test_a_machine_without_the_newer_python_says_that_nothing_was_tested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stub = tmp_path / ".pyenv/versions/3.13.9/bin/python3.13"
    stub.parent.mkdir(parents=True)
    stub.write_text("#!/bin/sh\nexit 127\n")
    stub.chmod(0o755)
    monkeypatch.setattr(ON_313.shutil, "which", lambda name: str(stub))
    monkeypatch.setattr(ON_313.Path, "home", lambda: tmp_path)

    assert list(ON_313.candidates(tmp_path)) == [stub, stub]
    assert ON_313.main([]) == 2
    assert capsys.readouterr().out.startswith("NOT TESTED ON PYTHON 3.13")


def test_the_newest_that_starts_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ON_313.shutil, "which", lambda name: None)
    for version, code in (("3.13.0", 0), ("3.13.2", 0), ("3.13.9", 1)):
        python = tmp_path / f".pyenv/versions/{version}/bin/python3.13"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\nexit {code}\n")
        python.chmod(0o755)

    assert ON_313.find(tmp_path) == tmp_path / ".pyenv/versions/3.13.2/bin/python3.13"
