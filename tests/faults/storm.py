"""Turns kinds of deployments into storms over them: traffic, and processes that are killed all the while."""

import asyncio
import queue
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.faults.audit import settle
from tests.faults.fleet import Fleet, Instance
from tests.faults.gate import AFTER, AMID, BEFORE, TURNS, Fault
from tests.faults.old import leave_something_old
from tests.faults.points import ASKED, LATER, POINTS, PRUNING, USUAL, Point
from tests.faults.traffic import Traffic

PATIENCE = 20
"""How often all that there is to do may be done, and asked for, without a kill at a new point, before a matrix has
failed: a count, so that it says the same on a machine that is busy."""
HANGS = 300.0
"""Seconds in which nothing at all is done, after which it has failed as well."""
QUIET = 3
"""Runs of each timer of an instance that lives on, after which those points are made to come about that need a crash
first: as many as it takes to come by all that there is to do."""
OLD = 5.0
"""Seconds from one lot of what retention is to delete to the next, while it is needed."""


class Kind(NamedTuple):
    """A deployment: its instances at a time, whether rows are deleted as they are joined, and whether time leaps."""

    rivals: int
    pruning: bool = False
    leaping: bool = False

    def points(self) -> Sequence[Point]:
        """Where instances are killed, each once; where rows are deleted, only what differs by that."""
        if self.leaping:
            return LATER
        return [p for p in USUAL if p.name not in ASKED and (p.name in PRUNING) is self.pruning]

    def possible(self) -> Sequence[Point]:
        """All that come about."""
        never = ASKED if self.pruning else ASKED | PRUNING
        return [point for point in (POINTS if self.leaping else USUAL) if point.name not in never]


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
        self._old = time.monotonic()
        self.traffics = [Traffic(fleet.addresses, seed)]

    def matrix(self, points: Sequence[Point]) -> None:
        """Kill at each of some points, before and after the call, until none is left."""
        faults, founders = [Fault(p.name, side) for p in points for side in (BEFORE, AFTER)], list[Instance]()
        vain, asked, remaining, moved = 0, 0, len(faults), time.monotonic()
        while left := [fault for fault in faults if not self._claim(fault).exists()]:
            if len(left) < remaining:
                vain, remaining, moved = 0, len(left), time.monotonic()
            assert vain < PATIENCE and time.monotonic() < moved + HANGS, f"never came about: {left}"
            # A deployment is founded once: nothing else must cut that off.
            first = [fault for fault in left if fault.point.endswith(".found")]
            while founders and not first:
                self.fleet.signal(founders.pop(), signal.SIGKILL)
            while len(self.fleet.live) < self.kind.rivals:
                instance = self.fleet.start(first or faults, claims=self._claims)
                founders += [instance] if first else []
            if not self._buried(0.5) and self._idle():
                needed = {point.name: point.needs for point in POINTS if point.needs}
                for fault in left:
                    if fault.point in needed:
                        self._claim(Fault(needed[fault.point], AFTER)).unlink(missing_ok=True)
                self._stir()
                if (rounds := min(traffic.rounds for traffic in self.traffics)) > asked:
                    vain, asked, moved = vain + 1, rounds, time.monotonic()
            self._bring_about(left)

    def _idle(self) -> bool:
        """Whether an instance has come by all that there is to do."""
        return any(min(instance.turns[one] for one in TURNS) > QUIET for instance in self.fleet.live)

    def _stir(self) -> None:
        """Make come about what does not by itself: some things a process does only while it is new."""
        instance = self._chance.choice(self.fleet.live)
        self.fleet.signal(instance, signal.SIGKILL)
        instance.wait_ended()

    def _bring_about(self, left: Sequence[Fault]) -> None:
        """Make come about what these faults need."""
        seldom = any(fault.point.startswith(("retention.", "thin.")) for fault in left)
        if seldom and time.monotonic() > self._old + OLD:
            asyncio.run(leave_something_old(self._storage))
            self._old = time.monotonic()

    def wander(self, kills: int, until: float) -> None:
        """Kill at points drawn by lot, or wherever an instance is when it has not come to its own."""
        patience: dict[str, float] = {}
        wanted = self.kills.total() + kills
        points = self.kind.possible()
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
        self._calm()
        settle(self.fleet, self._storage, self.kind.rivals)

    def _calm(self) -> None:
        """End the traffic, and all instances."""
        for traffic in self.traffics:
            assert traffic.is_alive()
            traffic.stop()
        self._clear()

    def _clear(self) -> None:
        """End all instances."""
        for instance in self.fleet.live:
            self.fleet.signal(instance, signal.SIGKILL)
            instance.wait_ended()
        while self._buried(0.1):
            continue

    def _claim(self, fault: Fault) -> Path:
        return self._claims / f"{fault.point} {fault.side}"

    def _buried(self, seconds: float) -> bool:
        """Whether an instance was killed within so many seconds; that it did not end in another way."""
        for traffic in self.traffics:
            assert traffic.problems == []
        unnamed = self.fleet.unnamed
        assert not unnamed, "steps without a fault point:\n" + "\n".join(sorted(unnamed))
        try:
            instance: Instance = self.fleet.ended.get(timeout=seconds)
        except queue.Empty:
            return False
        assert instance.code == -signal.SIGKILL, f"{instance} ended by itself: {self.fleet.output.read_text()[-4000:]}"
        self.kills[instance.fault or "anywhere"] += 1
        return True
