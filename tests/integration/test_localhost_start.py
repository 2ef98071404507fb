"""The local host's start: what cannot be served is refused in one clear line."""

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.sample_app import write_app
from tests.integration.served import DEADLINE, command, environment

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Starts an app that must not start, and returns the one line it ends with."""

    def start(source: str, *options: str, settings: object = None) -> str:
        app_dir = write_app(tmp_path / "app", source, settings=settings)
        ended = subprocess.run(
            command(app_dir, *options), env=environment(), capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        assert ended.returncode == 1
        assert ended.stdout == ""
        [line] = ended.stderr.splitlines()
        assert line.startswith("localhost: ")
        return line.removeprefix("localhost: ")

    return start


PREAMBLE = """
import azure.functions as func
app = func.FunctionApp()
"""


def function(name: str, route: str, argument: str = "req") -> str:
    return f'''
@app.function_name("{name}")
@app.route(route="{route}")
def {name}({argument}: func.HttpRequest) -> str: return ""
'''


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere.to_be_found", "ModuleNotFoundError: No module named 'nowhere' (function_app.py, line 1)"),
        ("def f(:", "SyntaxError: invalid syntax (function_app.py, line 1)"),
        ("", "one FunctionApp is needed at its top level; it has 0"),
        (PREAMBLE + "other = func.FunctionApp()", "it has 2"),
        (PREAMBLE, "the FunctionApp has no functions"),
        (PREAMBLE + function("a", "x", "request"), "its parameters are request"),
        (
            PREAMBLE + function("a", "x") + function("b", "X"),
            "functions a and b have the same route 'X'",
        ),
        (
            PREAMBLE + function("a", "x") + function("a", "y"),
            "unique function name",
        ),
        (PREAMBLE + function("a", "admin/x"), "is reserved for the host"),
        (PREAMBLE + function("a", "{x:nonsense}"), "there is no constraint 'nonsense'"),
        (
            PREAMBLE + '@app.timer_trigger(schedule="%GONE%", arg_name="t")\ndef a(t: func.TimerRequest): pass',
            "function a: '%GONE%' does not resolve to a value",
        ),
        (
            PREAMBLE + '@app.timer_trigger(schedule="soon", arg_name="t")\ndef a(t: func.TimerRequest): pass',
            "schedule 'soon'",
        ),
        (
            PREAMBLE + '@app.queue_trigger("m", "%GONE%", "c")\ndef a(m: func.QueueMessage): pass',
            "function a: '%GONE%' does not resolve to a value",
        ),
        (
            PREAMBLE + '@app.blob_trigger("b", "p", "c")\ndef a(b: func.InputStream): pass',
            "blobTrigger is not served here",
        ),
        (
            PREAMBLE + function("a", "x") + "def drain(): pass",
            "drain must be a coroutine",
        ),
        (
            PREAMBLE + function("a", "x") + "admit = True",
            "admit must be a function",
        ),
    ],
)
def test_an_app_that_cannot_be_served_says_why_in_one_line(refused: Refused, source: str, reason: str) -> None:
    assert reason in refused(source)


def test_other_reasons_not_to_start(refused: Refused, tmp_path: Path) -> None:
    source = PREAMBLE + function("a", "x")

    assert "there is no nothing.py" in refused(source, settings={"Values": {"PYTHON_SCRIPT_FILE_NAME": "nothing.py"}})
    assert "Values must be a JSON object" in refused(source, settings={"Values": 1})
    assert "there is no directory" in refused(source, "--app", str(tmp_path / "gone"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refused(source, "--port", str(port))
