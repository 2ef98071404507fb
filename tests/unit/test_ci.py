"""What CI asks besides the tests: that no secret is committed, and what a deployment is made of."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LEAKS, SBOM = script("leaks"), script("sbom")
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
