"""What Azure's host would refuse and its Python runtime does not see: routes that clash, among us or with the host."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from localhost.ncrontab import Schedule
from shared.contract.versions import Version
from shared.edge.routes import Route, find
from shared.edge.web import _HOLE as HOLE
from shared.loops.loops import DEFAULT
from tests.unit.edge.test_routes import EVERY, address

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: importing the app makes its globals, and its functions can be listed only once.
READ = """
import json, pathlib, sys
from localhost.config import load_config
from localhost.functions import TimerTrigger
from localhost.loading import load_app
from localhost.ncrontab import Schedule
from localhost.router import Router

root = pathlib.Path(sys.argv[1])
settings = json.loads((root / "local.settings.sample.json").read_text())["Values"]
app = load_app(root, settings)
router = Router(app.functions, load_config(root, {}).route_prefix)
for function in app.functions:
    if isinstance(function.trigger, TimerTrigger):
        Schedule(function.trigger.schedule)
assert app.drain is not None
assert load_config(root, {}).route_prefix == ""
found = []
for method, path in json.loads(sys.stdin.read()):
    match = router.find(method, "/" + path)
    found.append(None if match is None else [match[0].name, match[0].trigger.route, match[2]])
print(json.dumps([len(router.routes), found]))
"""


BARE = """
import asyncio, os
for name in [name for name in os.environ if name.startswith("RANKLOOP_")]:
    del os.environ[name]
import function_app
import join_timer_fn, train_timer_fn
import sys
late = {"pyarrow", "scipy", "azure.storage.blob", "azure.storage.queue", "opentelemetry", "azure.monitor", "psutil"}
assert not late & set(sys.modules), "a cold start pays for it"
print(join_timer_fn.SCHEDULE, train_timer_fn.SCHEDULE, sep="|")
"""


def test_without_settings_each_timer_runs_every_two_minutes() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BARE], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert (ended.returncode, ended.stdout.strip()) == (0, "0 */2 * * * *|0 1-59/2 * * * *"), ended.stderr


def test_the_timers_of_a_month_are_within_what_azure_gives_away() -> None:
    """A run is billed for a second at least, by its instance's memory; docs/operations.md has the same sum."""
    memory = re.search(r"'INSTANCE_MEMORY_MB', '(\d+)'", (ROOT / "infra/main.bicepparam").read_text())
    assert memory
    day, runs = datetime(2026, 11, 2, tzinfo=UTC), 0
    for module in ("join_timer_fn", "train_timer_fn"):
        found = re.search(r'else "([^"]+)"$', (ROOT / module / "__init__.py").read_text(), re.MULTILINE)
        assert found
        schedule, due = Schedule(found[1]), day - timedelta(seconds=1)
        while (due := schedule.next(due)) < day + timedelta(days=1):
            runs += 1
    seconds = runs * 30

    told = f"{seconds:,} runs x 1 s x 2 GB = {seconds * int(memory[1]) // 1024:,} GB-s"
    assert told in (ROOT / "docs/operations.md").read_text()
    assert seconds * int(memory[1]) / 1024 < 100_000


def ask(paths: list[tuple[str, str]]) -> list[tuple[str, str, dict[str, str]] | None]:
    """The function, its route and the parameters that the local host finds for each method and path."""
    ended = subprocess.run(
        [sys.executable, "-c", READ, str(ROOT)],
        cwd=ROOT,
        input=json.dumps(paths),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    count, found = json.loads(ended.stdout)
    assert count > 0
    return [None if match is None else tuple(match) for match in found]


def test_the_host_would_take_all_routes_and_the_sample_settings_cover_all_schedules() -> None:
    assert ask([]) == []


def expected(route: Route, version: Version | None) -> str:
    """The function that serves an operation: rank and events have their own, and everything else the two others."""
    if version is None:
        return "rankloop"
    head, _, rest = route.path.partition("/")
    slots = head == "multislot"
    kind = rest.partition("/")[0] if slots else head
    if kind not in ("rank", "events") or route.method != "POST":
        return "personalizer"
    if version is Version.V2022:
        return kind if slots else f"{kind}_2022"  # `multislot` stands where the version does
    return f"{kind}_slots" if slots else kind


@pytest.mark.parametrize("ident", ["e1", "a/b", "a%2Fb", "reward", "multislot/events/x", "é", "a b"])
@pytest.mark.parametrize("loop", [DEFAULT, "news"])
def test_every_operation_is_reached_through_its_own_function(loop: str, ident: str) -> None:
    asked = [
        (route, version, address(route, version, loop, ident)[0] + slash)
        for route, version in EVERY
        for slash in ("", "/")
    ]

    found = ask([(route.method, path) for route, version, path in asked])

    for (route, version, path), match in zip(asked, found, strict=True):
        assert match, path
        name, template, params = match
        assert name == ("" if loop == DEFAULT else "loop_") + expected(route, version), path
        # What the handler puts together again names the same operation.
        whole = HOLE.sub(lambda hole, params=params: params.get(hole[1]) or "", template)  # type: ignore[misc]
        query = {"api-version": "2022-09-01-preview"} if version is Version.V2022 else {}
        again = find(route.method, whole, query)
        assert (again.route, again.loop) == (route, loop), path
        assert again.id.rstrip("/") == (ident if "{" in route.path else ""), path


def test_description_page_and_probes_are_reached_and_nothing_else_at_the_root() -> None:
    paths = ["openapi.json", "OPENAPI.JSON", "openapi.json/", "", "loops", "loops/news", "status", "openapi.json/x"]
    probes = ["health/live", "health/ready", "health", "health/live/x"]

    found = ask([("GET", path) for path in paths + probes])

    names = ["openapi"] * 3 + ["home", None, "loop_home", None, None] + ["probe"] * 2 + [None] * 2
    assert [match[0] if match else None for match in found] == names


def test_no_request_and_no_exception_is_sampled_away() -> None:
    sampling = json.loads((ROOT / "host.json").read_text())["logging"]["applicationInsights"]["samplingSettings"]

    assert set(sampling["excludedTypes"].split(";")) == {"Request", "Exception"}
