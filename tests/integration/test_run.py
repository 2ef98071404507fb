"""Real processes, as `make run` starts them: a small app stands in where only its life and death matter."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localhost.azurite import HOST, ROOT

# Answers every GET with its settings; when asked to end, it notes whether its storage still answers.
APP = """
    import http.server, json, os, pathlib, re, signal, socket, sys, threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            names = [name for name in os.environ if name.startswith(("RANKLOOP_", "AzureWebJobs"))]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"pid": os.getpid(), **{name: os.environ[name] for name in names}}).encode())
            if self.path == "/die":
                os._exit(7)
            if self.path == "/spoil":
                spoiled.set()
        def log_message(self, *args):
            pass

    spoiled = threading.Event()

    def drain(number, frame):
        if spoiled.is_set():
            os._exit(3)
        port = int(re.search(r"TableEndpoint=http://127.0.0.1:(\\d+)", os.environ["RANKLOOP_STORAGE"])[1])
        socket.create_connection(("127.0.0.1", port)).close()
        pathlib.Path(os.environ["RANKLOOP_DATA"], "drained").touch()
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, drain)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler)
    print("a line of its own", flush=True)
    print(f"ready http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
"""
UP = "import sys; from localhost.up import main; sys.exit(main([sys.executable, *sys.argv[1:]]))"

Start = Callable[..., "Running"]


class Running:
    """One run, through the eyes of who started it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def ready(self) -> str:
        """Wait for the line that says so; nothing when the run ended before."""
        assert self.process.stdout is not None
        return next((line for line in self.process.stdout if line.startswith("Rankloop is ready")), "")

    def error_line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def get(self, path: str = "/", body: bytes | None = None, key: str = "") -> bytes:
        """GET, or POST where there is a body."""
        headers = {"Content-Type": "application/json", "Ocp-Apim-Subscription-Key": key}
        request = urllib.request.Request(f"http://{HOST}:{self.port}{path}", body, headers)
        with urllib.request.urlopen(request) as answer:
            told: bytes = answer.read()
            return told

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        return self.outcome()

    def outcome(self) -> tuple[int, str]:
        _, errors = self.process.communicate()
        return self.process.returncode, errors


def free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    app = tmp_path / "app.py"
    app.write_text(textwrap.dedent(APP))
    started: list[subprocess.Popen[str]] = []

    def begin(*command: str, port: int | None = None, **settings: str) -> Running:
        port = port or free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RANKLOOP_")}
        process = subprocess.Popen(
            [sys.executable, *(command or ("-c", UP, str(app)))],
            cwd=ROOT,
            env={**kept, "RANKLOOP_PORT": str(port), "RANKLOOP_DATA": str(tmp_path / "data"), **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return Running(process, port)

    yield begin
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate()


# The least that the local host serves, with the route at the root as host.json has it.
FUNCTION_APP = """
    import os
    import azure.functions as func

    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

    @app.route("storage", methods=["GET"])
    def storage(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse(os.environ["RANKLOOP_STORAGE"] + os.environ["AzureWebJobsStorage"])
"""


def test_the_local_host_serves_an_app(start: Start, tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(textwrap.dedent(FUNCTION_APP))
    (tmp_path / "host.json").write_text((ROOT / "host.json").read_text())

    run = start("-c", UP, "-m", "localhost", "--app", str(tmp_path))
    ready = run.ready()

    assert f"http://{HOST}:{run.port}/" in ready
    assert run.get("/storage").count(b"TableEndpoint=http://127.0.0.1:") == 2
    assert run.end()[0] == 0


def test_a_run_ranks_with_the_key_that_it_tells(start: Start) -> None:
    request = b'{"actions": [{"id": "a", "features": [{"x": 1}]}, {"id": "b", "features": [{"x": 2}]}]}'
    run = start("-m", "localhost.up")
    key = re.search(r" key (\w+) ", run.ready())

    assert key
    assert b'"rewardActionId"' in run.get("/personalizer/v1.0/rank", request, key[1])
    with pytest.raises(urllib.error.HTTPError, match="401"):
        run.get("/personalizer/v1.0/rank", request, "another")
    assert run.end()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_line_when_ready_and_a_clean_end(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    run = start()
    ready = run.ready()
    key = (tmp_path / "data" / "key").read_text().strip()
    pids = [int(pid) for pid in (tmp_path / "data" / "pid").read_text().split()]
    answer = run.get()

    assert f"http://{HOST}:{run.port}/" in ready
    assert key in ready
    assert f'"RANKLOOP_KEY": "{key}"'.encode() in answer
    assert stat.S_IMODE((tmp_path / "data" / "key").stat().st_mode) == 0o600
    assert all(lives(pid) for pid in pids)

    assert run.end(number) == (0, "")
    assert (tmp_path / "data" / "drained").exists()
    assert len(pids) == 2
    assert not any(lives(pid) for pid in pids)


def test_a_second_start_keeps_the_key(start: Start) -> None:
    first = start()
    told = first.ready()
    first.end()

    assert start(port=first.port).ready() == told


def test_a_key_of_ones_own(start: Start, tmp_path: Path) -> None:
    run = start(RANKLOOP_KEY="my-own")

    assert "my-own" in run.ready()
    assert not (tmp_path / "data" / "key").exists()


def test_a_port_in_use_is_one_line(start: Start) -> None:
    with socket.create_server((HOST, 0)) as other:
        code, errors = start(port=other.getsockname()[1]).outcome()

    assert code == 1
    assert "is in use" in errors
    assert errors.count("\n") == 1


def test_a_folder_in_use_is_one_line(start: Start) -> None:
    first = start()
    first.ready()

    code, errors = start().outcome()

    assert code == 1
    assert f"process {first.process.pid}" in errors
    assert errors.count("\n") == 1
    assert first.end() == (0, "")


def test_an_ended_azurite_comes_back_on_the_same_ports(start: Start, tmp_path: Path) -> None:
    run = start()
    run.ready()
    before = run.get()
    _, azurite = (tmp_path / "data" / "pid").read_text().split()

    os.kill(int(azurite), signal.SIGKILL)

    assert "starting it again" in run.error_line()
    assert run.error_line() == "Azurite is back.\n"
    assert run.get() == before
    assert (tmp_path / "data" / "pid").read_text().split()[1] != azurite
    assert run.end() == (0, "")
    assert (tmp_path / "data" / "drained").exists()


def test_an_app_that_cannot_drain_is_told(start: Start) -> None:
    run = start()
    run.ready()
    run.get("/spoil")

    code, errors = run.end()

    assert code == 1
    assert "cut off" in errors


def test_an_app_that_ends_by_itself_ends_the_run(start: Start, tmp_path: Path) -> None:
    run = start()
    run.ready()
    _, azurite = (tmp_path / "data" / "pid").read_text().split()
    run.get("/die")

    code, errors = run.outcome()

    assert code == 1
    assert "code 7" in errors
    assert not lives(int(azurite))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_a_killed_run_leaves_nothing_that_blocks_the_next(start: Start, tmp_path: Path) -> None:
    first = start()
    first.ready()
    first.end(signal.SIGKILL)

    # Its Azurite still writes what it holds, and keeps the folder locked until it has.
    while True:
        second = start()
        if second.ready():
            break
        assert second.outcome()[0] == 1

    assert second.end() == (0, "")
