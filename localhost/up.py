"""Turns an installed clone into a running one: Azurite and `python -m localhost`, until Ctrl-C. `make run` calls it."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from localhost.azurite import HOST, ROOT, Azurite, AzuriteError, die_with_parent
from localhost.config import QUEUES_SETTING
from localhost.data_folder import DataFolder, Problem, data_folder

# Azurite keeps all tables in one file and dies when it nears 512 MB: a limit of V8's strings.
TABLE_WARNING_BYTES = 256 * 1024 * 1024

APP = (sys.executable, "-m", "localhost")

_TICK_SECONDS = 0.2
_RESTART_SECONDS = 3.0
_WATCH_SECONDS = 5.0
_READY_SECONDS = 120.0
_DRAIN_SECONDS = 60.0


@dataclass(frozen=True)
class Settings:
    """What the environment says about a run."""

    port: int
    key: str | None
    data: Path

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Take RANKLOOP_PORT, RANKLOOP_KEY and RANKLOOP_DATA; empty means unset."""
        port = environment.get("RANKLOOP_PORT") or "7071"
        if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
            raise Problem(f"RANKLOOP_PORT={port} is no port: choose a number from 1 to 65535.")
        data = Path(environment.get("RANKLOOP_DATA") or ROOT / ".rankloop").expanduser().absolute()
        return cls(int(port), environment.get("RANKLOOP_KEY") or None, data)


def app_environment(inherited: Mapping[str, str], storage: str, key: str, data: Path, cores: int = 1) -> dict[str, str]:
    """Give the app the settings that Azure would; a local loop learns within seconds unless told otherwise."""
    defaults = {
        "RANKLOOP_JOIN_SCHEDULE": "*/5 * * * * *",
        "RANKLOOP_TRAIN_SCHEDULE": "2/5 * * * * *",
        # Azurite scans whole tables: journal that is joined goes at once, where Azure keeps it some days.
        "RANKLOOP_JOURNAL_PRUNE": "true",
        # Azurite stops for up to a second or two while it saves its tables, every 5 s. Rank answers "pending" then;
        # a reward has no such way out, and the v1.0 SDKs do not repeat one.
        "RANKLOOP_REWARD_DEADLINE_MS": "3000",
        "RANKLOOP_LOG_LEVEL": "warning",
        # A piece of work a core: in Azure each has an instance of its own.
        f"{QUEUES_SETTING}newBatchThreshold": str(cores - 1),
    }
    given = {
        "RANKLOOP_STORAGE": storage,
        "AzureWebJobsStorage": storage,
        "RANKLOOP_KEY": key,
        "RANKLOOP_DATA": str(data),
        "AzureWebJobsDisableHomepage": "true",
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "PYTHONUNBUFFERED": "1",
    }
    return {**defaults, **inherited, **given}


class Stop:
    """Counts the signals that ask for an end: the first lets the app drain, the second cuts that short."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked)

    def __call__(self) -> bool:
        """Whether an end was asked for."""
        return self.count > 0

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


class Run:
    """One run: its two processes, from start to stop."""

    def __init__(self, settings: Settings, folder: DataFolder, stop: Stop, command: Sequence[str]) -> None:
        self.settings = settings
        self.command = command
        self.folder = folder
        self.stop = stop
        self.key = settings.key or folder.key()
        self.azurite = Azurite(folder.azurite, keep_open=(folder.lock,))
        self.app: subprocess.Popen[str] | None = None
        self._warn_at = TABLE_WARNING_BYTES
        self._restart_at = self._watch_at = 0.0

    def start(self) -> None:
        """Start both, and say so in one line when the app answers."""
        self.azurite.start(self.stop)
        self.folder.note_processes(os.getpid(), self.azurite.pid)
        self.app = subprocess.Popen(  # noqa: S603 - no shell, and the command is ours
            [*self.command, "--host", HOST, "--port", str(self.settings.port)],
            cwd=ROOT,
            env=app_environment(
                {"RANKLOOP_SIGNING_KEY": self.folder.signing_key(), **os.environ},
                self.azurite.connection_string,
                self.key,
                self.settings.data,
                os.cpu_count() or 1,
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=_forward, args=(self.app.stdout, lines), daemon=True).start()
        deadline = time.monotonic() + _READY_SECONDS
        while not self.stop():
            with suppress(queue.Empty):
                lines.get(timeout=_TICK_SECONDS)
                endpoint = f"http://{HOST}:{self.settings.port}/"
                print(
                    f"Rankloop is ready: endpoint {endpoint} key {self.key} page {endpoint} (Ctrl-C stops it)",
                    flush=True,
                )
                return
            if self.app.poll() is not None:
                raise Problem(f"The app ended before it was ready (code {self.app.returncode}): see above.")
            if time.monotonic() > deadline:
                raise Problem(f"The app was not ready after {_READY_SECONDS:.0f} s: see above.")

    def watch(self) -> None:
        """Return when asked to stop; an Azurite that ends is started again, an app that ends is a problem."""
        while not self.stop():
            if self.app is not None and self.app.poll() is not None:
                raise Problem(f"The app ended by itself (code {self.app.returncode}): see above.")
            now = time.monotonic()
            if not self.azurite.running and now >= self._restart_at:
                self._restart_azurite()
                self._restart_at = time.monotonic() + _RESTART_SECONDS
            if now >= self._watch_at:
                self._watch_size()
                self._watch_at = now + _WATCH_SECONDS
            time.sleep(_TICK_SECONDS)

    def end(self) -> bool:
        """Let the app drain into its storage, then end the storage; False if the app could not drain."""
        drained = True
        if self.app is not None and self.app.poll() is None:
            self.app.terminate()
            asked, deadline = self.stop.count, time.monotonic() + _DRAIN_SECONDS
            while self.app.poll() is None:
                if self.stop.count > max(asked, 1) or time.monotonic() > deadline:
                    self.app.kill()
                time.sleep(_TICK_SECONDS / 4)
            # Ended by the very signal: it was still loading, and had nothing to drain.
            drained = self.app.returncode in (0, -signal.SIGTERM)
        self.azurite.stop()
        return drained

    def _restart_azurite(self) -> None:
        last = self.azurite.output.strip().splitlines()[-1:]
        _say(f"Azurite ended by itself{f' ({last[0]})' if last else ''}: starting it again on the same ports and data.")
        try:
            self.azurite.start(self.stop)
        except AzuriteError as error:
            if not self.stop():
                _say(f"{error} Next try in {_RESTART_SECONDS:.0f} s.")
            return
        self.folder.note_processes(os.getpid(), self.azurite.pid)
        _say("Azurite is back.")

    def _watch_size(self) -> None:
        size = self.azurite.table_bytes
        if size < self._warn_at:
            return
        while self._warn_at <= size:
            self._warn_at *= 2
        _say(
            f"Azurite's tables have grown to {size // 2**20} MB, and it dies near 512 MB. Shorten the reward wait time "
            f"or send less, so that the join keeps up; or stop, remove {self.folder.azurite} (all its data) and start "
            "again. Azure's own storage has no such limit."
        )


def main(command: Sequence[str] = APP) -> int:
    """Run `command` as the app until a signal asks for the end: 0 then, or 1 after one line that says what is wrong."""
    stop = Stop()
    try:
        settings = Settings.read(os.environ)
        with data_folder(settings.data) as folder:
            _check_port(settings.port)
            run = Run(settings, folder, stop, command)
            try:
                run.start()
                run.watch()
            finally:
                drained = run.end()
            if not drained:
                raise Problem("The app was cut off before it had stored everything: see above.")
    except AzuriteError as error:
        # One that was cut off while starting is no problem but what was asked for.
        if stop():
            return 0
        _say(str(error))
        return 1
    except Problem as error:
        _say(str(error))
        return 1
    return 0


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # As the server itself will: a port whose last connections linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise Problem(f"Port {port} is not allowed: choose one from 1024, RANKLOOP_PORT={port + 8000}.") from error
        except OSError as error:
            raise Problem(
                f"Port {port} is in use: stop what listens there, or choose another, RANKLOOP_PORT={port % 65535 + 1}."
            ) from error


def _forward(source: IO[str], ready: "queue.SimpleQueue[str]") -> None:
    """Hand over the line by which the app says that it is ready, and show all others."""
    for line in source:
        if line.startswith("ready "):
            ready.put(line)
        else:
            print(line, end="", flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
