"""`make smoke` against a served deployment, and against what is none."""

import subprocess
import sys

from localhost.azurite import ROOT
from tests.contract.conftest import KEY, Deployment


def smoke(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo.smoke", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_deployment_is_proven_and_left_as_it_was(fresh: Deployment) -> None:
    ended = smoke(f"{fresh.decoded.endpoint}/", KEY)  # which decodes paths as Azure does

    lines = ended.stdout.splitlines()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [line.split(":")[0] for line in lines] == [
        f"ok      {name}" for name in ("described", "closed", "sdk", "slash", "timers")
    ]
    assert [loop["name"] for loop in fresh.kept.call("GET", "/rankloop/v1/loops").json["value"]] == ["default"]
    assert KEY not in ended.stdout + ended.stderr


def test_what_is_not_proven_is_said(fresh: Deployment) -> None:
    ended = smoke(fresh.kept.endpoint, "a-wrong-key")

    told = {line.split(":")[0] for line in ended.stdout.splitlines()}
    assert ended.returncode == 1
    assert told == {"ok      described", "ok      closed", "FAILED  sdk", "FAILED  slash", "FAILED  timers"}
    assert "401 in place of 201" in ended.stdout


def test_where_nothing_answers_nothing_is_proven() -> None:
    ended = smoke("http://127.0.0.1:1", "k")

    assert ended.returncode == 1
    assert ended.stdout.count("FAILED") == 5
    assert smoke("http://127.0.0.1:1").returncode == 2
