"""Processes killed at every point that touches storage: nothing is lost, nothing twice, and the model is the log's."""

import asyncio
import contextlib
import os
import queue
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from localhost.azurite import Azurite
from shared.learning import thinning
from shared.log import checkpoint as checkpoints
from shared.log import hours, index, joined, retention, rows
from shared.log.joined import Window
from shared.log.records import Observed, decode_observed, encode_observed
from shared.loops import deployment as deployments
from shared.loops.loops import DEFAULT
from shared.storage import Conflict
from shared.storage.azure import AzureStorage
from shared.storage.memory import MemoryQueues, Sent
from shared.work import QUEUE
from tests.faults.audit import audit, settle
from tests.faults.fleet import Fleet, Instance
from tests.faults.points import AFTER, AMID, ASKED, BEFORE, POINTS, PRUNING, Fault, Gate, Point, gated_queues
from tests.faults.traffic import Traffic

SEED = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(2**32))
SOAK_KILLS = int(os.environ.get("SOAK_KILLS") or 0)
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS") or 0)
ROUND = 120
"""Kills of a round of the soak, behind which everything is looked at."""
WANDERING = 20
"""Kills at points drawn by lot that `make test` adds where there are few others, while rows grow old enough to go."""
MATRIX_SECONDS = 900.0
QUIET = 5.0
"""Seconds without a new point, after which those are made to come about that need a crash first."""
OLD = 5.0
"""Seconds from one lot of what retention is to delete to the next, while it is needed."""
LONG_AGO = 1_577_836_800
"""A day that no loop keeps: what it holds is for retention."""


class Kind(NamedTuple):
    """A deployment: how many instances it has at once, and whether rows are deleted as they are joined."""

    rivals: int
    pruning: bool = False

    def faults(self) -> list[Fault]:
        """All there are; where rows are deleted, only what differs by that."""
        points = [p for p in POINTS if p.name not in ASKED and (p.name in PRUNING) is self.pruning]
        return [Fault(point.name, side) for point in points for side in (BEFORE, AFTER)]

    def points(self) -> list[Point]:
        """All that come about."""
        return [p for p in POINTS if p.name not in ASKED and (self.pruning or p.name not in PRUNING)]


ALONE, RIVALS, PRUNED = Kind(1), Kind(3), Kind(3, pruning=True)


class Storm:
    """Kills over one storage, with traffic all the while."""

    def __init__(self, kind: Kind, seed: int, folder: Path, fleet: Fleet, storage: str) -> None:
        self.kind = kind
        self.fleet = fleet
        self.kills: Counter[str] = Counter()
        self._claims = folder / "claims"
        self._claims.mkdir()
        self._chance = random.Random(seed)
        self._storage = storage
        self.traffic = Traffic(fleet.addresses, seed)

    def matrix(self) -> None:
        """Kill at each point, before and after the call, until none is left."""
        faults, founders = self.kind.faults(), list[Instance]()
        deadline = time.monotonic() + MATRIX_SECONDS
        quiet = old = time.monotonic()
        while left := [fault for fault in faults if not self._claim(fault).exists()]:
            assert time.monotonic() < deadline, f"never came about: {left}"
            # A deployment is founded once: nothing else must cut that off.
            first = [fault for fault in left if fault.point.endswith(".found")]
            while founders and not first:
                self.fleet.signal(founders.pop(), signal.SIGKILL)
            while len(self.fleet.live) < self.kind.rivals:
                instance = self.fleet.start(first or faults, claims=self._claims)
                founders += [instance] if first else []
            if self._buried(0.5):
                quiet = time.monotonic()
            elif time.monotonic() > quiet + QUIET:
                needed = {point.name: point.needs for point in POINTS if point.needs}
                for fault in left:
                    if fault.point in needed:
                        self._claim(Fault(needed[fault.point], AFTER)).unlink(missing_ok=True)
                # Some things a process does only while it is new.
                self.fleet.signal(self._chance.choice(self.fleet.live), signal.SIGKILL)
                quiet = time.monotonic()
            seldom = any(fault.point.startswith(("retention.", "hours.", "thin.")) for fault in left)
            if seldom and time.monotonic() > old + OLD:
                asyncio.run(leave_something_old(self._storage))
                old = time.monotonic()

    def wander(self, kills: int, until: float) -> None:
        """Kill at points drawn by lot, or wherever an instance is when it has not come to its own."""
        patience: dict[str, float] = {}
        wanted = self.kills.total() + kills
        points = self.kind.points()
        writing = [point for point in points if point.call.startswith(("put", "delete", "drop"))]
        while self.kills.total() < wanted and time.monotonic() < until:
            while len(self.fleet.live) < self.kind.rivals:
                point = self._chance.choice(self._chance.choice([points, writing, writing]))
                fault = Fault(point.name, self._chance.choice([BEFORE, AMID, AFTER]), self._chance.choice([1, 1, 2, 5]))
                instance = self.fleet.start([fault])
                patience[instance.name] = instance.began + self._chance.uniform(0.2, 12)
            self._buried(0.2)
            for instance in self.fleet.live:
                if time.monotonic() > patience.get(instance.name, 0.0):
                    self.fleet.signal(instance, signal.SIGKILL)

    def settle(self) -> None:
        """End the traffic, and let instances that are left alone join and learn all of it."""
        assert self.traffic.is_alive()
        self.traffic.stop()
        for instance in self.fleet.live:
            self.fleet.signal(instance, signal.SIGKILL)
            instance.wait_ended()
        while self._buried(0.1):
            continue
        settle(self.fleet, self._storage, self.kind.rivals)

    def _claim(self, fault: Fault) -> Path:
        return self._claims / f"{fault.point} {fault.side}"

    def _buried(self, seconds: float) -> bool:
        """Whether an instance was killed within so many seconds; that it did not end in another way."""
        assert self.traffic.problems == []
        unnamed = self.fleet.unnamed
        assert not unnamed, "steps without a fault point:\n" + "\n".join(sorted(unnamed))
        try:
            instance: Instance = self.fleet.ended.get(timeout=seconds)
        except queue.Empty:
            return False
        assert instance.code == -signal.SIGKILL, f"{instance} ended by itself: {self.fleet.output.read_text()[-4000:]}"
        self.kills[instance.fault or "anywhere"] += 1
        return True


async def leave_something_old(storage: str) -> None:
    """Put rows and blobs into the default loop that it has kept for too long, and a window of an hour that is over."""
    async with AzureStorage(storage) as azure:
        deployment = await azure.blobs.get(deployments.DEPLOYMENT)
        if deployment is None:
            return
        loop_id = deployments.decode(deployment.data).loops[DEFAULT]
        hour = int(time.time()) // 3600 * 3600 - 3 * 3600
        line = encode_observed(Observed("of long ago", hour + 1.0, "r", 1.0, None, "q"))
        closed = Window(hour, hour + 5)  # which is to become Parquet
        for progress in (hours.progress_path(loop_id), thinning.progress_path(loop_id)):
            await azure.blobs.delete(progress)  # or what is done once could be done while nobody kills
        await joined.write(azure.blobs, loop_id, closed, joined.OBSERVATIONS, [line])
        await joined.write_index(azure.blobs, loop_id, closed, index.of([], [decode_observed(line)]))
        checkpoint, etag = await checkpoints.load(azure.blobs, loop_id)
        if checkpoint.since:  # retention moves that once a day: here, again
            checkpoint = msgspec.structs.replace(checkpoint, since=LONG_AGO + retention.DAY)
            with contextlib.suppress(Conflict):
                await checkpoints.save(azure.blobs, loop_id, checkpoint, etag)
        await joined.write(azure.blobs, loop_id, Window(LONG_AGO, LONG_AGO + 5), joined.OBSERVATIONS, [line])
        for stream in ("rank", "obs"):
            table = rows.table_name(stream, loop_id, "20200101")
            await azure.tables.put(table, {"PartitionKey": f"00_{LONG_AGO}", "RowKey": "w"})
            path = f"journal/{table}/00_{LONG_AGO}/w"
            blob = await azure.blobs.get(path)
            with contextlib.suppress(Conflict):  # it is being deleted
                await azure.blobs.put(path, b"old", blob.etag if blob else None)


def weather(
    kind: Kind, seed: int, folder: Path, capsys: pytest.CaptureFixture[str], matrix: bool, kills: int, until: float
) -> int:
    """One storm and what it has left; returns how many kills there were."""
    began = time.monotonic()
    folder.mkdir()
    with Azurite() as azurite:
        storage = azurite.connection_string
        more = {"RANKLOOP_JOURNAL_PRUNE": "true"} if kind.pruning else {}
        with Fleet(storage, folder / "errors.txt", **more) as fleet:
            storm = Storm(kind, seed, folder, fleet, storage)
            storm.traffic.start()
            try:
                storm.wander(kills, until)
                if matrix:
                    storm.matrix()
                storm.settle()
            finally:
                storm.traffic.stop()
        found = asyncio.run(audit(storage, storm.traffic, kind.pruning))
    with capsys.disabled():
        print(
            f"\n{kind}, seed {seed}: {storm.kills.total()} kills at {len(storm.kills)} places in "
            f"{time.monotonic() - began:.0f} s; {found}; {dict(storm.traffic.answers)}"
        )
    assert storm.traffic.problems == []
    assert found.rewarded > 0
    return storm.kills.total()


async def test_a_message_that_is_sent_passes_a_point() -> None:
    told, queues = list[tuple[str, str]](), MemoryQueues()
    gated = gated_queues(queues, Gate([], lambda what, text: told.append((what, text))), random.random)

    await gated.send(QUEUE, b"x", delay=1.0)
    assert queues.sent == {QUEUE: [Sent(b"x", 1.0)]}
    assert told == []

    await gated.send("another", b"x")
    assert [(what, text.split(" in ")[0]) for what, text in told] == [("unnamed", "send another")]


@pytest.mark.parametrize("kind", [ALONE, RIVALS, PRUNED], ids=["alone", "rivals", "pruned"])
def test_a_process_killed_at_any_point_costs_nothing(
    kind: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make soak` goes on from there, round by round."""
    until = time.monotonic() + max(SOAK_SECONDS / 3, MATRIX_SECONDS)
    kills = weather(kind, SEED, tmp_path / "0", capsys, True, WANDERING if kind.pruning else 0, until)
    number = 0
    while kills < SOAK_KILLS / 3 and time.monotonic() < until:
        number += 1
        kills += weather(kind, SEED + number, tmp_path / str(number), capsys, False, ROUND, until)
