"""Turns orders into instances of the served app, which end themselves at the points that they were given.

`python -m tests.faults.worker` loads the app once, and forks it for each order that it reads: an instance is there in
a tenth of the time that starting one takes. It is the app as `python -m localhost` serves it, over HTTP and with its
timers; but for the gate around its storage, for the time that it takes it to be, and for some bounds that are lowered
so that little comes near them.
"""

from __future__ import annotations

import io
import os
import random
import selectors
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import azure.storage.queue.aio  # noqa: F401 - so that instances find it loaded
import msgspec

import function_app  # noqa: F401 - so that instances find it loaded
import shared.app
import shared.storage.azure
import shared.sweep
from localhost.__main__ import main as serve
from localhost.azurite import ROOT, die_with_parent
from localhost.ncrontab import Schedule
from shared.clock import StorageClock
from shared.learning import trainer, vetter
from shared.log import answers, joiner, journal, rows, series
from shared.storage.azure import AzureStorage
from shared.storage.azure.calls import Count
from tests.faults.gate import Fault, Gate, gated_blobs, gated_queues, gated_tables
from tests.integration.timed import TimedTables

TICK = timedelta(seconds=0.3)
"""From one run of a timer to the next: a schedule has whole seconds, of which each kill would take one. The first run
comes at once."""


class Order(msgspec.Struct):
    """An instance that is wanted, or a signal to one.

    Attributes:
        name: of the instance.
        faults: where it ends.
        number: the signal by which.
        claims: see `Gate`.
        settings: of its environment, besides the ones it has from here.
        signals: whether it is there already, and only gets the signal.
        ahead: seconds by which its time is ahead of this machine's.
    """

    name: str
    faults: list[Fault] = []
    number: int = signal.SIGKILL
    claims: str | None = None
    settings: dict[str, str] = {}
    signals: bool = False
    ahead: float = 0.0


class Report(msgspec.Struct):
    """What comes about in an instance.

    Attributes:
        name: of the instance.
        what: "began" with its process id, "ready" with its address, "turn" with the point that a run of a timer begins
            with, "fault" with where it ends, "unnamed" with a storage call that is no point, or "ended" with its exit
            code.
        text: that.
    """

    name: str
    what: str
    text: str


def main() -> None:
    """Read orders until there are no more, and report what becomes of them."""
    reports = os.dup(1)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    names: dict[int, str] = {}
    pids: dict[str, int] = {}
    ask_kernel = die_with_parent()

    def report(name: str, what: str, text: str) -> None:
        os.write(reports, msgspec.json.encode(Report(name, what, text)) + b"\n")  # whole, since it is short

    waiting = b""
    while True:
        for key, _ in selector.select():
            if key.fd == 0:
                read = os.read(0, 65_536)
                if not read:
                    return
                *lines, waiting = (waiting + read).split(b"\n")
                for line in lines:
                    order = msgspec.json.decode(line, type=Order)
                    if order.signals:
                        if order.name in pids:
                            os.kill(pids[order.name], order.number)
                        continue
                    pid = os.fork()
                    if pid == 0:
                        if ask_kernel is not None:
                            ask_kernel()
                        _run(order, report)
                    descriptor = os.pidfd_open(pid)
                    selector.register(descriptor, selectors.EVENT_READ)
                    names[descriptor] = order.name
                    pids[order.name] = pid
                    report(order.name, "began", str(pid))
            else:
                selector.unregister(key.fd)
                os.close(key.fd)
                name = names.pop(key.fd)
                _, status = os.waitpid(pids.pop(name), 0)
                report(name, "ended", str(os.waitstatus_to_exitcode(status)))


class _Said(io.TextIOBase):
    """Standard output of an instance, of which only the line matters that says where it serves."""

    def __init__(self, ready: Callable[[str], None]) -> None:
        self._ready = ready

    def write(self, text: str) -> int:
        if text.startswith("ready "):
            self._ready(text.removeprefix("ready "))
        return len(text)


def _run(order: Order, report: Callable[[str, str, str], None]) -> None:
    """Serve until the end of this process."""
    code = 1
    try:
        sys.stdout = _Said(lambda address: report(order.name, "ready", address))
        os.environ.update(order.settings)
        claims = None if order.claims is None else Path(order.claims)
        number = signal.Signals(order.number)
        gate = Gate(order.faults, lambda what, text: report(order.name, what, text), number, claims)
        _arrange(gate, order.ahead)
        code = serve(["--app", str(ROOT), "--port", "0"])
    finally:
        sys.stderr.flush()
        os._exit(code)


class _Time:
    """A time that is ahead of this machine's."""

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead

    @property
    def now(self) -> float:
        return time.time() + self._ahead


def _arrange(gate: Gate, ahead: float) -> None:
    """Put the gate around the storage of this process, move its time and that of its storage, and lower some bounds."""
    moment = random.random
    later = _Time(ahead)

    class GatedStorage(AzureStorage):
        def __init__(self, setting: str, count: Count = lambda _: None) -> None:
            super().__init__(setting, count)
            tables = gated_tables(self.tables, gate, moment)
            self.tables = TimedTables(later, tables) if ahead else tables  # type: ignore[assignment]
            self.blobs = gated_blobs(self.blobs, gate, moment)  # type: ignore[assignment]
            self.queues = gated_queues(self.queues, gate, moment)  # type: ignore[assignment]

    shared.storage.azure.AzureStorage = GatedStorage  # type: ignore[misc]
    shared.app.StorageClock = partial(StorageClock, local=lambda: later.now)  # type: ignore[attr-defined, assignment]
    begun = set[int]()

    def following(schedule: Schedule, after: datetime) -> datetime:
        tick = TICK if id(schedule) in begun else timedelta()
        begun.add(id(schedule))
        return after + tick

    Schedule.next = following  # type: ignore[assignment]
    joiner.MAX_EVENTS = 40
    joiner.EARLY = 15  # type: ignore[attr-defined]  # of which no client comes near: rows are pruned behind it
    trainer.MAX_EVENTS = 120
    vetter.ENOUGH = 20  # type: ignore[attr-defined]  # on a busy machine few more come from one version to the next
    series.MOST_MINUTES = 1
    answers.MINUTE = 1  # type: ignore[attr-defined]
    answers._SPREAD, answers.GIVE_UP, answers._OPEN = 0.0, 4, 6
    for module in (journal, rows):
        module.CAPACITY = 3000  # type: ignore[attr-defined]
    shared.sweep._SWEEP = 1.0
    shared.sweep._EVERY_LOOP = 86_400.0  # or else it would matter at which time of the day this runs
    shared.sweep._GONE = 3.0
    shared.sweep._GONE_FOR_SURE = 6.0


if __name__ == "__main__":
    main()
