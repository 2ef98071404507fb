"""`make smoke` against a served deployment, and against what is none."""

import subprocess
import sys

import pytest
import requests

from demo.smoke import Deployment as Served
from demo.smoke import Failed, page
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
        f"ok      {name}" for name in ("described", "closed", "page", "sdk", "slash", "timers")
    ]
    assert [loop["name"] for loop in fresh.kept.call("GET", "/rankloop/v1/loops").json["value"]] == ["default"]
    assert KEY not in ended.stdout + ended.stderr


def test_what_is_not_proven_is_said(fresh: Deployment) -> None:
    ended = smoke(fresh.kept.endpoint, "a-wrong-key")

    told = {line.split(":")[0] for line in ended.stdout.splitlines()}
    assert ended.returncode == 1
    assert told == {
        *("ok      described", "ok      closed", "ok      page"),
        *("FAILED  sdk", "FAILED  slash", "FAILED  timers"),
    }
    assert "401 in place of 201" in ended.stdout


def test_where_nothing_answers_nothing_is_proven() -> None:
    ended = smoke("http://127.0.0.1:1", "k")

    assert ended.returncode == 1
    assert ended.stdout.count("FAILED") == 6
    assert smoke("http://127.0.0.1:1").returncode == 2


@pytest.mark.parametrize(
    ("text", "policy", "program"),
    [
        ("<html>Your Functions app is up and running</html>", "", 200),
        ('<script src="/page/page.js">', "default-src *", 200),
        ('<script src="/page/page.js">', "default-src 'none'", 404),
    ],
)
def test_a_page_that_is_not_ours_is_no_proof(
    monkeypatch: pytest.MonkeyPatch, text: str, policy: str, program: int
) -> None:
    def request(method: str, url: str, **_: object) -> requests.Response:
        answer = requests.Response()
        answer.status_code = program if url.endswith(".js") else 200
        answer._content = text.encode()
        answer.headers["content-security-policy"] = policy
        return answer

    monkeypatch.setattr(requests, "request", request)

    with pytest.raises(Failed):
        page(Served("https://h", "k"))
