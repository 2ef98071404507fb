"""Turns orders into running instances of the app, and what becomes of them into something a test can wait for."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from localhost.azurite import die_with_parent
from tests.faults.gate import Fault
from tests.faults.load import KEY, ROOT
from tests.faults.worker import Order, Report
from tests.integration.served import environment

PATIENCE = 60.0
"""Seconds after which an instance that neither begins nor ends is a failure."""


@dataclass
class Instance:
    """One process that serves the app.

    Attributes:
        name: no other's.
        pid: of the process, 0 before it is there.
        began: when it was ordered, by a clock that never jumps.
        address: where it serves, empty before it does.
        fault: the point and the side at which it ended itself.
        turns: how often each of its timers has begun, by the point that they begin with.
        code: its exit code, once it has ended.
    """

    name: str
    began: float
    pid: int = 0
    address: str = ""
    fault: str = ""
    turns: Counter[str] = field(default_factory=Counter)
    code: int | None = None
    changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def wait_ended(self) -> int:
        """Wait until it has ended; its exit code."""
        self._wait(lambda: self.code is not None)
        assert self.code is not None
        return self.code

    def wait_fault(self) -> None:
        """Wait until it has come to where it ends, or has ended."""
        self._wait(lambda: bool(self.fault) or self.code is not None)

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            if not self.changed.wait_for(condition, PATIENCE):
                raise TimeoutError(f"nothing comes about in {PATIENCE} s with {self}")


class Fleet:
    """Instances over one storage; leave the `with` block to end those that live.

    Args:
        storage: a connection string.
        output: gets what they write to their standard error.
        settings: more of their environment.

    Attributes:
        ahead: seconds by which those that are started are ahead of this machine's clock, and all storage with them.
    """

    def __init__(self, storage: str, output: Path, **settings: str) -> None:
        self.output = output
        self.ahead = 0.0
        self.unnamed: set[str] = set()
        self.faults: list[str] = []
        self.ended: queue.SimpleQueue[Instance] = queue.SimpleQueue()
        self._live: dict[str, Instance] = {}
        self._count = 0
        self._settings = {
            "RANKLOOP_STORAGE": storage,
            "AzureWebJobsStorage": storage,
            "RANKLOOP_KEY": KEY,
            "RANKLOOP_LOG_LEVEL": "warning",
            "RANKLOOP_JOIN_SCHEDULE": "* * * * * *",
            "RANKLOOP_TRAIN_SCHEDULE": "* * * * * *",
            "FUNCTIONS_WORKER_RUNTIME": "python",
            **settings,
        }

    def __enter__(self) -> Self:
        with self.output.open("ab") as errors:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env=environment(self._settings),
                preexec_fn=die_with_parent(),
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for instance in self.live:
            self.signal(instance, signal.SIGKILL)
        assert self._worker.stdin is not None
        self._worker.stdin.close()
        self._worker.wait(PATIENCE)
        self._reader.join()

    def start(
        self,
        faults: Sequence[Fault] = (),
        number: signal.Signals = signal.SIGKILL,
        claims: Path | None = None,
        **settings: str,
    ) -> Instance:
        """Begin an instance that ends itself at the first of these faults that it comes to."""
        self._count += 1
        instance = Instance(f"i{self._count}", time.monotonic())
        self._live[instance.name] = instance
        folder = None if claims is None else str(claims)
        self._order(Order(instance.name, list(faults), number, folder, settings, ahead=self.ahead))
        return instance

    def signal(self, instance: Instance, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended: its parent does, so that the id is nobody else's by then."""
        self._order(Order(instance.name, number=number, signals=True))

    def _order(self, order: Order) -> None:
        assert self._worker.stdin is not None
        self._worker.stdin.write(msgspec.json.encode(order) + b"\n")
        self._worker.stdin.flush()

    def now(self) -> float:
        """The time as those have it that are started now, in seconds since the epoch."""
        return time.time() + self.ahead

    @property
    def live(self) -> list[Instance]:
        """Those that have not ended."""
        return list(self._live.values())

    def addresses(self) -> list[str]:
        """Where something serves."""
        return [instance.address for instance in self.live if instance.address]

    def _read(self) -> None:
        assert self._worker.stdout is not None
        with self._worker.stdout as reports:
            for line in reports:
                self._take(msgspec.json.decode(line, type=Report))

    def _take(self, report: Report) -> None:
        if report.what == "unnamed":
            self.unnamed.add(report.text)
            return
        instance = self._live[report.name]
        with instance.changed:
            if report.what == "began":
                instance.pid = int(report.text)
            elif report.what == "ready":
                instance.address = report.text
            elif report.what == "fault":
                instance.fault = report.text
                self.faults.append(report.text)
            elif report.what == "turn":
                instance.turns[report.text] += 1
            else:
                instance.code = int(report.text)
                del self._live[instance.name]
                self.ended.put(instance)
            instance.changed.notify_all()
