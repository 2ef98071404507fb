"""What Azure's host would refuse and its Python runtime does not see: routes that clash, among us or with the host."""

import subprocess
import sys
from pathlib import Path

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
print(len(router.routes))
"""


BARE = """
import asyncio, os
for name in [name for name in os.environ if name.startswith("RANKLOOP_")]:
    del os.environ[name]
import function_app
import join_timer_fn, train_timer_fn
print(join_timer_fn.SCHEDULE, train_timer_fn.SCHEDULE, sep="|")
"""


def test_without_settings_the_timers_run_each_minute() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BARE], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert (ended.returncode, ended.stdout.strip()) == (0, "0 * * * * *|0 * * * * *"), ended.stderr


def test_the_host_would_take_all_routes_and_the_sample_settings_cover_all_schedules() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", READ, str(ROOT)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 0
