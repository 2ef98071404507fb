"""Nobody gets in without a key: every operation and every HTTP function that the app registers, and what is open."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.unit.edge.test_routes import EVERY, address

ROOT = Path(__file__).resolve().parents[2]
OPEN = {
    "home": "{home:maxlength(0)?}",
    "loop_home": "loops/{loop}",
    "openapi": "openapi.json",
    "page": "page/{*file}",
    "probe": "health/{probe}",
}
"""HTTP functions that anybody may call, with their routes.

They tell of no loop: how the API and the page are made, whether the process and its storage answer, and where people
may sign in.
"""
OPEN_PATHS = ("", "loops/none", "openapi.json", "page/page.js", "health/live", "health/ready")
WALK = """
import asyncio, json, pathlib, sys
from concurrent.futures import ThreadPoolExecutor
import azure.functions as func
from localhost.config import load_config
from localhost.functions import HttpTrigger, invoke
from localhost.loading import load_app
from localhost.router import Router
from shared import app as running
from shared.app import App
from shared.config import Config
from shared.storage.memory import MemoryBlobs, MemoryTables

root = pathlib.Path(sys.argv[1])
functions = load_app(root, json.loads((root / "local.settings.sample.json").read_text())["Values"]).functions
router = Router(functions, load_config(root, {}).route_prefix)
asked = json.loads(sys.stdin.read())
pool = ThreadPoolExecutor(1)

async def walk():
    held = App(Config("", "the deployment's"), MemoryTables(), MemoryBlobs())
    running.current = lambda: held
    for method, path, query, headers in asked:
        function, _, params = router.find(method, "/" + path)
        request = func.HttpRequest(
            method, f"https://h/{path}", headers=headers, params=query, route_params=params, body=b'{"name": "news"}'
        )
        response = await invoke(function, request, pool, headers)
        yield [function.name, response.status_code]

async def main():
    served = [[f.name, f.trigger.route] for f in functions if isinstance(f.trigger, HttpTrigger)]
    print(json.dumps([served, [found async for found in walk()]]))

asyncio.run(main())
"""


KEY = {"ocp-apim-subscription-key": "the deployment's"}
NO_KEYS: list[dict[str, str]] = [
    {},
    {"ocp-apim-subscription-key": ""},
    {"ocp-apim-subscription-key": "another"},
    {"x-functions-key": "the deployment's"},
    {"authorization": "Bearer the deployment's"},
]
Asked = tuple[str, str, dict[str, str], dict[str, str]]


def walk(asked: list[Asked]) -> tuple[dict[str, str], list[tuple[str, int]]]:
    """The app's HTTP functions with their routes; and which one answers each call, and with which status.

    Args:
        asked: method, path, query and headers of each call.
    """
    ended = subprocess.run(
        [sys.executable, "-c", WALK, str(ROOT)],
        cwd=ROOT,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    served, answers = json.loads(ended.stdout)
    assert len(answers) == len(asked)
    return dict(served), [(name, status) for name, status in answers]


def test_every_operation_is_closed_to_who_has_no_key() -> None:
    places = [(r.method, *address(r, version, loop)) for r, version in EVERY for loop in ("default", "news", "none")]

    served, answers = walk([(*place, headers) for headers in NO_KEYS for place in places])

    assert {status for _, status in answers} == {401}
    closed = {name for name, _ in answers}
    assert {name: route for name, route in served.items() if name not in closed} == OPEN


def test_the_threat_model_names_what_is_open() -> None:
    (row,) = re.findall(r"^\| anybody who reaches.*$", (ROOT / "docs/threats.md").read_text(), re.MULTILINE)
    named = [
        re.escape(name).replace("<any\\ name>", "[^/]+").replace("\\*", ".+") for name in re.findall("`(/.*?)`", row)
    ]

    assert {path for path in OPEN_PATHS if not any(re.fullmatch(name, f"/{path}") for name in named)} == set()
    assert {name for name in named if not any(re.fullmatch(name, f"/{path}") for path in OPEN_PATHS)} == set()


def test_what_is_open_answers_and_with_the_key_so_does_the_rest() -> None:
    reads = [(r.method, *address(r, version), KEY) for r, version in EVERY if r.method == "GET"]

    _, answers = walk([*((("GET", path, {}, {})) for path in OPEN_PATHS), *reads])

    assert {status for _, status in answers[: len(OPEN_PATHS)]} == {200}
    assert 401 not in {status for _, status in answers}
