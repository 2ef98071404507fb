"""An app that is ended under load, at any moment, with storage slow or not: what it answered is in the log."""

import asyncio
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localhost.azurite import Azurite
from tests.faults.audit import audit, settle
from tests.faults.fleet import Fleet
from tests.faults.gate import AFTER, BEFORE, Fault
from tests.faults.load import Load, health, read_journal, serving
from tests.faults.traffic import Traffic

MOMENTS = (
    "deployment.read",
    "clock.probe",
    "pointer.poll",
    "activity.note",
    "journal.write.rank",
    "journal.write.obs",
    "journal.overflow",
    "join.read.rank",
    "join.output",
    "checkpoint.move",
    "train.read",
    "model.write",
    "pointer.move",
)
"""Of starting up, of logging, of the join and of training."""
SLOW = 1.5
"""Seconds that storage hangs once the app is told to end; a row is tried again for 4 s behind its bucket's end."""
APPS = 3
"""How many are there at once."""


@pytest.mark.parametrize("slow", [False, True], ids=["storage answers", "storage is slow"])
def test_an_app_that_is_ended_drains_what_it_answered(
    azurite_on_disk: Azurite, slow: bool, tell: Callable[[str], None]
) -> None:
    with serving(azurite_on_disk.connection_string) as served:
        loop_id = health(served)["loopId"]
        load = Load(served.address, callers=12)
        load.start()
        try:
            load.durable_again(20)
            if slow:
                azurite_on_disk.pause()
                wake = threading.Timer(4, azurite_on_disk.resume)
                wake.start()
                time.sleep(2)
            load.ending = True
            began = time.monotonic()
            code = served.stop(signal.SIGTERM)
            took = time.monotonic() - began
            if slow:
                wake.join()
        finally:
            load.stop()

    ranked, observed = read_journal(azurite_on_disk.connection_string, loop_id)
    answered = [sent for sent in load.sent if sent.status == 201]
    pending = sum(sent.pending for sent in answered)
    tell(f"ended after {took:.1f} s; of {len(answered)} answered events {pending} were pending")
    assert load.problems == []
    assert code == 0
    assert pending > 0 or not slow, "storage was not slow enough to be felt"
    assert not [sent.id for sent in answered if ranked[sent.id] != 1]
    assert not [sent.id for sent in load.sent if sent.reward == 204 and observed[sent.id] < 1]


class Ending:
    """Apps that are told to end, each at a moment, until there is none left."""

    def __init__(self, azurite: Azurite, fleet: Fleet) -> None:
        self._azurite = azurite
        self._fleet = fleet
        self._chance = random.Random(1)
        self._moments = [(point, n % 2 == 0) for n, point in enumerate(MOMENTS)]
        self._slowing = threading.Lock()

    def run(self) -> None:
        """Begin one app after the other, and end them: while they load, and at their moment."""
        while self._moments:
            point, slow = self._moments.pop(0)
            loading = self._fleet.start()
            time.sleep(self._chance.uniform(0, 0.3))
            self._fleet.signal(loading, signal.SIGTERM)
            # By the very signal while it was still loading, and had nothing to drain.
            assert loading.wait_ended() in (0, -signal.SIGTERM, 130)
            app = self._fleet.start([Fault(point, self._chance.choice([BEFORE, AFTER]))], signal.SIGTERM)
            app.wait_fault()
            if slow:
                with self._slowing:
                    self._azurite.pause()
                    time.sleep(SLOW)
                    self._azurite.resume()
                    time.sleep(2 * SLOW)  # or two of them would be one that is too long
            assert app.wait_ended() == 0, self._fleet.output.read_text()


def test_an_app_can_be_ended_at_any_moment(tmp_path: Path, tell: Callable[[str], None]) -> None:
    with Azurite() as azurite, Fleet(azurite.connection_string, tmp_path / "errors.txt") as fleet:
        traffic = Traffic(fleet.addresses, 1, churning=False)
        traffic.start()
        ending = Ending(azurite, fleet)
        try:
            with ThreadPoolExecutor(APPS) as pool:
                for run in [pool.submit(ending.run) for _ in range(APPS)]:
                    run.result()
        finally:
            traffic.stop()
        settle(fleet, azurite.connection_string, 1)
        found = asyncio.run(audit(azurite.connection_string, traffic, killed=False))
    pending = sum(ranked.pending for ranked in traffic.ranked.values())
    tell(f"ended {len(fleet.faults)} times; {pending} events were pending; {found}; {dict(traffic.answers)}")
    assert traffic.problems == []
    assert len(fleet.faults) == len(MOMENTS)
    assert pending > 0, "storage was not slow enough to be felt"
