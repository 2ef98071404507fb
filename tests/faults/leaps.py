"""Turns a deployment into one that is off for minutes, hours and days between its calls: time leaps while nobody runs.

So erasures are confirmed, long waits pass, hours close and versions grow old by the product's own rules and bounds, on
what real calls have left.
"""

import asyncio
import http.client
import itertools
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import orjson

from shared.learning import registry
from shared.log import activity, hours, joined
from shared.log import checkpoint as checkpoints
from shared.loops import deployment as deployments
from shared.loops import settings
from shared.loops.loops import DEFAULT
from shared.loops.settings import Loop
from shared.storage.azure import AzureStorage
from tests.faults.audit import Audit
from tests.faults.fleet import Fleet
from tests.faults.forgetful import Forgetful
from tests.faults.gate import Fault
from tests.faults.leavings import check_erased, check_forgotten, check_hours, check_mail, check_series, check_thinned
from tests.faults.load import HEADERS, wait_until
from tests.faults.points import Point
from tests.faults.storm import HANGS, PATIENCE, Kind, Storm
from tests.faults.traffic import MOST_CALLS, SETTINGS, Traffic

_MINUTES, _HOURS, _DAYS = 1000.0, 3 * 3600.0, 50 * 3600.0
"""Seconds: longer than an erasure waits for its confirmation; than the longest wait, and an hour; than two days."""
_LEAPS = (_MINUTES, _MINUTES, _MINUTES, _HOURS)
_WISHES: Sequence[Sequence[Literal["event", "subject"]]] = (("event",) * 3, ("subject", "event", "subject"), (), ())
"""What is to be erased after each of the leaps: it is found behind the next one, and confirmed by the one after it."""
_BEGINS = 600.0
"""Seconds of the first day that are over when a storm begins: its journal is there until two days are."""
_JOURNAL = 2 * 86_400 - _BEGINS
"""Seconds after which the journal of the first day is gone."""
_EVENTS = 12
"""Of each loop between two leaps, about."""
_KEPT = SETTINGS | {"logRetentionDays": -1}
_T = TypeVar("_T")


class Leaps(Storm):
    """A storm over loops of four kinds: one that keeps all, one with erasures, one that waits long, one that forgets.

    All leaps of a matrix together are far shorter than two days, so that the journal still holds what it is judged by.
    """

    def __init__(self, kind: Kind, seed: int, folder: Path, fleet: Fleet, storage: str) -> None:
        super().__init__(kind, seed, folder, fleet, storage)
        fleet.ahead = 86_400 - time.time() % 86_400 + _BEGINS
        patient = _KEPT | {"rewardWaitTime": "PT2H10M"}
        brief = SETTINGS | {"logRetentionDays": 2}
        self._kept = Traffic(fleet.addresses, seed, 2, 0.3, False, "", _KEPT, fleet.now)
        self._person = Forgetful(fleet.addresses, seed + 1, 2, 0.3, False, "person", _KEPT, fleet.now)
        self._patient = Forgetful(fleet.addresses, seed + 2, 2, 0.3, False, "patient", patient, fleet.now)
        self._brief = Traffic(fleet.addresses, seed + 3, 1, 0.6, False, "brief", brief, fleet.now)
        self.traffics = [self._kept, self._person, self._patient, self._brief]
        self._began = fleet.now()
        self._lengths: Iterator[float] = itertools.cycle(_LEAPS)
        self._wishes = {name: itertools.cycle(_WISHES) for name in ("person", "patient")}
        self._before = [0 for _ in self.traffics]
        self._calling = True
        self._found: Counter[str] = Counter()

    def _idle(self) -> bool:
        """The same, and each loop has had events since the last leap, and what was to be erased was asked for."""
        wishing = (self._person.wishes, self._patient.wishes) if self._calling else ()
        return all(traffic.resting for traffic in self.traffics) and not any(wishing) and super()._idle()

    def _stir(self) -> None:
        self._leap()

    def _bring_about(self, left: Sequence[Fault]) -> None:
        """Let loops rest that have had enough, so that as much is stored on a machine that is slow."""
        for traffic, before in zip(self.traffics, self._before, strict=True):
            traffic.resting = not self._calling or traffic.durable >= before + _EVENTS

    def wander(self, kills: int, until: float) -> None:
        """The same with a leap now and then."""
        wanted = self.kills.total() + kills
        while self.kills.total() < wanted and time.monotonic() < until:
            super().wander(min(12, wanted - self.kills.total()), until)
            self._leap()

    def _leap(self) -> None:
        """Let time pass while the deployment is off, and have a look at the mail."""
        self._clear()
        for traffic in (self._person, self._patient):
            traffic.wishes.extend(next(self._wishes[traffic.loop]))
        if self._patient.ranked:
            look = self._look("patient", lambda azure, loop: check_mail(azure.blobs, loop, self._patient))
            self._found["letters"] += asyncio.run(look)
        self._before = [traffic.durable for traffic in self.traffics]
        for one in self.traffics:
            one.resting = not self._calling
        self.fleet.ahead += next(self._lengths)

    async def _ids(self, azure: AzureStorage) -> dict[str, str]:
        blob = await azure.blobs.get(deployments.DEPLOYMENT)
        assert blob is not None
        return deployments.decode(blob.data).loops

    async def _look(self, name: str, judge: Callable[[AzureStorage, Loop], Awaitable[_T]]) -> _T:
        """What is found of a loop."""
        async with AzureStorage(self._storage) as azure:
            loop_id = (await self._ids(azure))[name or DEFAULT]
            held = await azure.blobs.get(settings.path(loop_id))
            assert held is not None
            return await judge(azure, settings.decode(loop_id, held.data, held.etag))

    def settle(self) -> None:
        """End the traffic, leap until nothing is pending any more, and let what was erased be unlearned."""
        self._clear()
        for _ in range(self.kind.rivals):
            self.fleet.start()
        wait_until(lambda: not (self._person.wishes or self._patient.wishes), HANGS)
        self._calm()
        self._calling = False
        self._leap_until(self._settled)
        for traffic in (self._person, self._patient):
            self._retrain(traffic)
        self._end()

    def _end(self) -> None:
        """End all instances in order."""
        for instance in self.fleet.live:
            self.fleet.signal(instance, signal.SIGTERM)
            assert instance.wait_ended() == 0
            assert self.fleet.ended.get() is instance

    def _retrain(self, traffic: Traffic) -> None:
        """Give a loop another policy, and wait for its model."""
        where, path = (
            urlsplit(self.fleet.addresses()[0]),
            f"/loops/{traffic.loop}/personalizer/v1.0/configurations/policy",
        )
        connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=HANGS)
        connection.request("GET", path, headers=HEADERS)
        policy = orjson.loads(connection.getresponse().read())
        policy["arguments"] = policy["arguments"].replace("0.001", "0.002")
        connection.request("PUT", path, orjson.dumps(policy), HEADERS)
        assert connection.getresponse().status == 200
        connection.close()

        async def serves(azure: AzureStorage, loop: Loop) -> bool:
            version, _ = await registry.current(azure.blobs, loop.id)
            return version is not None and version.lineage == loop.policy.lineage and "0.002" in version.arguments

        wait_until(lambda: bool(asyncio.run(self._look(traffic.loop, serves))), 60)

    def _leap_until(self, settled: Callable[[AzureStorage], Awaitable[bool]]) -> None:
        """Leap, and let instances work, until nothing is to be done any more."""
        for _ in range(PATIENCE):
            self._leap()
            for _ in range(self.kind.rivals):
                self.fleet.start()
            until = time.monotonic() + HANGS
            while not self._idle():
                assert time.monotonic() < until, self.fleet.output.read_text()[-4000:]
                self._buried(0.3)
            if asyncio.run(self._asked(settled)):
                return
        raise AssertionError("it is never settled")

    async def _asked(self, what: Callable[[AzureStorage], Awaitable[_T]]) -> _T:
        async with AzureStorage(self._storage) as azure:
            return await what(azure)

    async def _settled(self, azure: AzureStorage) -> bool:
        """Whether all is joined, learned, erased, and of the hours that are over written."""
        noted, notes = await activity.noted(azure.tables), await activity.for_train_timer(azure.tables)
        busy = {*noted, *(note.loop_id for note in (*notes.untrained, *notes.erasing))}
        for loop_id in (await self._ids(azure)).values():
            checkpoint, _ = await checkpoints.load(azure.blobs, loop_id)
            progress, _ = await hours.load(azure.blobs, loop_id)
            names = await azure.blobs.names(joined.log_path(loop_id))
            last = max((parsed[0].start for name in names if (parsed := joined.parse(name))), default=0)
            if loop_id in busy or checkpoint.erasures or (last and progress.through <= last):
                return False
        return True

    def judge(self) -> str:
        """Look at all that is stored of all loops, once it is settled; what there was to look at."""
        spent = self.fleet.now() - self._began
        assert spent < _JOURNAL, f"{spent:.0f} s: the journal is gone by which windows are judged"
        for traffic in self.traffics:
            self._found.update(asyncio.run(self._look(traffic.loop, partial(self._judge, traffic))))
        return str(dict(self._found))

    async def _judge(self, traffic: Traffic, azure: AzureStorage, loop: Loop) -> Counter[str]:
        found = Counter[str]()
        checkpoint, _ = await checkpoints.load(azure.blobs, loop.id)
        judged = Audit(azure, loop, checkpoint)
        await judged.read(checkpoint.since)
        if traffic is self._brief:
            return found
        judged.check_events(traffic, True)
        judged.check_rewards(traffic)
        await judged.check_windows(MOST_CALLS * len(traffic.erased | traffic.unsure))
        if isinstance(traffic, Forgetful):
            found["erased"] = await check_erased(azure.tables, azure.blobs, loop, traffic)
            assert traffic.erased
        else:
            await judged.check_versions()
        await judged.check_model()
        found["days"] = await check_series(azure.blobs, loop, checkpoint)
        found["rows"] = await check_hours(azure.blobs, loop, judged.lines(), judged.observed())
        assert judged.found.rewarded
        return found + Counter(vars(judged.found))

    def days(self, points: Sequence[Point]) -> str:
        """Let days pass, with kills at points that come about then; what is left to look at."""
        self._lengths = itertools.repeat(_DAYS)
        self._leap()
        self.matrix(points)
        self._clear()
        for _ in range(self.kind.rivals):
            self.fleet.start()
        wait_until(partial(self._swept, self.fleet.now() + 3.0), 60)
        self._end()
        thinned = asyncio.run(self._look("", lambda azure, loop: check_thinned(azure.blobs, loop)))
        assert thinned
        now = self.fleet.now()
        asyncio.run(self._look("brief", lambda azure, loop: check_forgotten(azure.tables, azure.blobs, loop, now)))
        for traffic in (self._kept, self._person, self._patient):
            asyncio.run(self._look(traffic.loop, partial(self._judge_again, traffic)))
        return f"{thinned} versions thinned"

    def _swept(self, since: float) -> bool:
        """Whether sweeps have begun since a time."""
        notes = asyncio.run(self._asked(lambda azure: activity.for_train_timer(azure.tables)))
        return (notes.sweep or 0.0) > since

    async def _judge_again(self, traffic: Traffic, azure: AzureStorage, loop: Loop) -> None:
        checkpoint, _ = await checkpoints.load(azure.blobs, loop.id)
        judged = Audit(azure, loop, checkpoint)
        await judged.read(checkpoint.since)
        judged.check_events(traffic, True)
        await check_hours(azure.blobs, loop, judged.lines(), judged.observed())
        if isinstance(traffic, Forgetful):
            await check_erased(azure.tables, azure.blobs, loop, traffic)
