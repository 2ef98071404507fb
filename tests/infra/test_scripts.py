"""The scripts of infra/, with stand-ins for the two programs that speak to Azure."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.learning.signed import Signer
from tests.infra.deployment import INFRA

VAULT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv"
AZD = f"""#!/bin/sh
case "$1 $2" in
  "env get-value")
    case "$3" in
      AZURE_KEY_VAULT_ID) echo {VAULT} ;;
      AZURE_SUBSCRIPTION_ID) echo s ;;
      AZURE_RESOURCE_GROUP) echo g ;;
      SERVICE_API_NAME) echo app ;;
      *) exit 9 ;;
    esac ;;
  "env set") echo "$3=$4" >> "$LOG/azd" ;;
  *) exit 9 ;;
esac
"""
AZ = """#!/bin/sh
echo "$*" >> "$LOG/az"
case "$1 $2" in "functionapp restart") exit 0 ;; esac
method= url= body=
while [ $# -gt 0 ]; do
  case "$1" in --method) method=$2; shift ;; --url) url=$2; shift ;; --body) body=${2#@}; shift ;; esac
  shift
done
echo "$url" > "$LOG/url"
case "$method" in
  get) test -f "$LOG/secret" ;;
  put) cat "$body" > "$LOG/secret" ;;
  post) ;;
  *) exit 9 ;;
esac
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Where the stand-ins write down what they were told."""
    for name, text in (("az", AZ), ("azd", AZD)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    return tmp_path


def run(told: Path, script: str, *arguments: str) -> str:
    environment = {"PATH": f"{told / 'bin'}{os.pathsep}{os.environ['PATH']}", "LOG": str(told)}
    command = ["/bin/sh", str(INFRA / script), *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.skipif(shutil.which("openssl") is None, reason="THE SIGNING KEY IS NOT TESTED: there is no openssl")
def test_it_makes_a_key_that_signs_and_makes_it_once(told: Path) -> None:
    said = run(told, "signing-key.sh")

    made = json.loads((told / "secret").read_text())["properties"]
    assert made["contentType"] == "RANKLOOP_SIGNING_KEY"
    signer = Signer(made["value"])
    assert len(signer.fingerprint) == 64
    assert (told / "azd").read_text() == "SIGN_MODELS=true\n"
    (url,) = (told / "url").read_text().split()
    assert url.startswith(f"https://management.azure.com{VAULT}/secrets/signing-key?api-version=")
    assert "PRIVATE" not in said

    again = run(told, "signing-key.sh")

    assert json.loads((told / "secret").read_text())["properties"] == made
    assert "left as it is" in again


@pytest.mark.skipif(shutil.which("openssl") is None, reason="THE SIGNING KEY IS NOT TESTED: there is no openssl")
def test_it_replaces_a_key_where_it_is_told_to(told: Path) -> None:
    run(told, "signing-key.sh")
    first = json.loads((told / "secret").read_text())["properties"]

    said = run(told, "signing-key.sh", "replace")

    second = json.loads((told / "secret").read_text())["properties"]
    assert Signer(second["value"]).fingerprint != Signer(first["value"]).fingerprint
    assert "left as it is" not in said
    assert "take-keys.sh" in said


def test_keys_are_fetched_again_before_the_restart(told: Path) -> None:
    run(told, "take-keys.sh")

    app = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/app"
    refresh, restart = (told / "az").read_text().splitlines()
    again = f"{app}/config/configreferences/appsettings/refresh"
    assert refresh.startswith(f"rest --method post --url {again}?api-version=")
    assert restart.startswith(f"functionapp restart --ids {app} ")
