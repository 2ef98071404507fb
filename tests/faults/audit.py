"""Turns storage and what clients were answered into a judgement: nothing lost, nothing twice, the log's own model."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import orjson

from shared.learning import pointer, registry
from shared.learning.model import Learner
from shared.learning.registry import Version
from shared.log import activity, index, joined, rows
from shared.log import checkpoint as checkpoints
from shared.log.buckets import BUCKET, EARLY, bucket_of, next_bucket
from shared.log.checkpoint import Checkpoint
from shared.log.join import Joined, decode_events, join, observations_of
from shared.log.joined import Window
from shared.log.records import Observed, decode_observed, event_key
from shared.loops import deployment as deployments
from shared.loops import settings
from shared.loops.loops import DEFAULT
from shared.loops.settings import Loop
from shared.storage import Row
from shared.storage.azure import AzureStorage
from tests.faults.fleet import Fleet
from tests.faults.leavings import check_series
from tests.faults.load import wait_until
from tests.faults.traffic import Traffic


@dataclass
class Found:
    """What there was to judge, so that a reader sees that it was something."""

    lines: int = 0
    windows: int = 0
    rewarded: int = 0
    late: int = 0
    inactive: int = 0
    repeated: int = 0
    versions: int = 0


class Audit:
    """One loop's storage, once nothing is pending any more."""

    def __init__(self, azure: AzureStorage, loop: Loop, checkpoint: Checkpoint) -> None:
        self._tables = azure.tables
        self._blobs = azure.blobs
        self._loop = loop
        self._checkpoint = checkpoint
        self._windows: dict[Window, dict[str, bytes]] = defaultdict(dict)
        self.found = Found()

    async def read(self, began: float) -> None:
        """Read the windows since a time, none of which may overlap."""
        for path in await self._blobs.names(joined.log_path(self._loop.id)):
            parsed, blob = joined.parse(path), await self._blobs.get(path)
            assert parsed, f"{path} is no window's"
            assert blob is not None
            (start, end), kind = (parsed[0].start, parsed[0].end), parsed[1]
            if end <= began:
                continue  # the test's own
            held = self._windows[Window(start, end)]
            assert kind not in held, f"{path} is not the only generation"
            held[kind] = blob.data
        ends = 0
        for window in sorted(self._windows):
            assert ends <= window.start < window.end, f"{window} overlaps the one before"
            ends = window.end
        assert ends <= self._checkpoint.watermark
        self.found.windows = len(self._windows)

    def lines(self) -> list[dict[str, Any]]:
        """The joined log."""
        return [orjson.loads(line) for window in sorted(self._windows) for line in self._lines(window, joined.DSJSON)]

    def observed(self) -> list[Observed]:
        """All observations that arrived, the first ones first."""
        found = [decode_observed(line) for window in self._windows for line in self._lines(window, joined.OBSERVATIONS)]
        return sorted(found, key=lambda observed: observed.t)

    def _lines(self, window: Window, kind: str) -> list[bytes]:
        blob = self._windows[window].get(kind)
        return [] if blob is None else rows.decompress(blob).split(b"\n")

    def check_events(self, traffic: Traffic, killed: bool) -> None:
        """Every event that must stand does so once, any other once at most, and nothing erased, or never sent.

        An id that was repeated more than two minutes later is another event: the deployment was off meanwhile.
        """
        stands: dict[str, list[float]] = defaultdict(list)
        for line in self.lines():
            stands[line["EventId"]].append(datetime.fromisoformat(line["Timestamp"]).timestamp())
        sent, excused = traffic.ranked, traffic.erased | traffic.unsure
        must = [one for one, ranked in sent.items() if ranked.durable or (ranked.pending and not killed)]
        assert [one for one in must if one not in stands and one not in excused] == [], "lost events"
        twice = [one for one, times in stands.items() if any(b - a < EARLY for a, b in pairwise(sorted(times)))]
        assert twice == [], "events that stand twice"
        assert [one for one in stands if one in traffic.erased] == [], "events that were erased"
        assert set(stands) <= set(sent)
        self.found.lines = len(stands)

    def check_rewards(self, traffic: Traffic) -> None:
        """Each observation that was answered is there, and each event has what arrived in its window, once."""
        by_event: dict[str, list[Observed]] = defaultdict(list)
        sent, excused = traffic.observed, traffic.erased | traffic.unsure
        arrived = set()
        for one in self.observed():
            assert one.q is not None
            key = one.e, one.q
            assert key in sent
            assert (one.k, one.v) == (sent[key].kind, sent[key].value)
            arrived.add(key)
            by_event[one.e].append(one)
        lost = [key for key, one in sent.items() if one.durable and key not in arrived and key[0] not in excused]
        assert lost == [], "lost observations"
        for line in self.lines():
            ranked = datetime.fromisoformat(line["Timestamp"]).timestamp()
            observations = by_event[line["EventId"]]
            wait = self._loop.waits.at(bucket_of(ranked))
            once = {one.q: one for one in reversed(observations) if -EARLY < one.t - ranked < wait}
            counts = list(once.values())
            rewards = [one.v for one in counts if one.k == "r"]
            activated = any(one.k == "a" for one in counts)
            assert -line["_original_label_cost"] == sum(rewards), line
            assert line.get("_skipLearn", False) is (traffic.ranked[line["EventId"]].deferred and not activated), line
            self.found.rewarded += bool(rewards)
            self.found.late += sum(one.t - ranked >= wait for one in observations)
            self.found.inactive += line.get("_skipLearn", False)

    async def check_windows(self, erased: int = 0) -> None:
        """Each window is, byte for byte, what the journal's rows give; none is missing, and the totals are theirs.

        Args:
            erased: so many calls are in no row any more, and may have been counted.
        """
        ranked, observed = await self._journal("rank"), await self._journal("obs")
        buckets = {bucket for bucket, _ in [*ranked, *observed]}
        # Of a bucket in no window there is nothing to join: what is left of it are retries.
        missing = [b for b in buckets if not any(window.start <= b < window.end for window in self._windows)]
        totals: Counter[str] = Counter()
        for window in sorted([*self._windows, *(Window(bucket, bucket + BUCKET) for bucket in missing)]):
            outcome, arrived = await self._join(ranked, observed, window)
            texts = {joined.DSJSON: outcome.lines, joined.OBSERVATIONS: arrived}
            wanted = {kind: rows.compress(lines) for kind, lines in texts.items() if lines}
            table = index.of(outcome.events, map(decode_observed, arrived))
            if len(table):
                wanted[joined.INDEX] = table.tobytes()
            assert self._windows.get(window, {}) == wanted, window
            totals.update({name: getattr(outcome, name) for name in ("rewarded", "retries", "inactive", "duplicates")})
            totals["events"] += len(outcome.lines)
        for name, total in totals.items():
            assert total <= getattr(self._checkpoint, name) <= total + erased, name
        self.found.repeated = totals["retries"] + totals["duplicates"]

    async def _join(
        self, ranked: list[tuple[int, Row]], observed: list[tuple[int, Row]], window: Window
    ) -> tuple[Joined, list[bytes]]:
        """What the journal's rows give for a window, and the observations that arrived in it."""
        rules = self._loop.rules().at(window.start)
        events = decode_events([line for _, row in _within(ranked, window) for line in await self._text(row)])
        before = [bytes(row["h"]) for _, row in _within(ranked, Window(window.start - EARLY, window.start))]  # type: ignore[arg-type]
        around = Window(window.start - EARLY, next_bucket(window.end + rules.wait))
        lines = [line for _, row in _within(observed, around) for line in await self._text(row)]
        mine = sorted(_within(observed, window), key=lambda one: (one[0], str(one[1]["RowKey"])))
        arrived = [line for _, row in mine for line in await self._text(row)]
        return join(events, observations_of({event_key(event.e) for event in events}, lines), before, rules), arrived

    async def _journal(self, stream: str) -> list[tuple[int, Row]]:
        found = []
        for table in await self._tables.names(f"{stream}{self._loop.id}"):
            async for row, _ in self._tables.query(table, ("", "~")):
                found.append((rows.bucket_of_partition(str(row["PartitionKey"])), row))
        return found

    async def _text(self, row: Row) -> list[bytes]:
        return await rows.lines(row, self._blobs)

    async def check_versions(self) -> None:
        """Every version is what a straight run over the log up to there gives by the arguments it was made with.

        A model that nobody came to record is what those of some version give.
        """
        held = {version.version: version.arguments for version in await registry.versions(self._blobs, self._loop.id)}
        learners = {arguments: self._learner(arguments) for arguments in {self._loop.learned.training, *held.values()}}
        made = defaultdict[int, dict[str, str]](dict)
        for name, parts in (await registry.listed(self._blobs, self._loop.id)).items():
            if registry.MODEL in parts:
                blob = await self._blobs.get(registry.model_path(self._loop.id, name))
                assert blob is not None
                made[registry.through(name)][name] = _sha256(blob.data)
        learned, windows = 0, sorted(self._windows)
        for through in sorted(made):
            while windows and windows[0].start < through:
                window = windows.pop(0)
                learned += max(self._learn(learner, window) for learner in learners.values())
            straight = {
                arguments: hashlib.sha256(learner.save()).hexdigest() for arguments, learner in learners.items()
            }
            for name, sha256 in made[through].items():
                assert sha256 in ([straight[held[name]]] if name in held else straight.values()), f"version {name}"
        for learner in learners.values():
            learner.close()
        current = await self._head()
        assert current.trained_through == max(made)
        assert current.events == learned
        assert windows == []
        self.found.versions = len(made)

    async def check_model(self) -> None:
        """The serving version is what one straight run over all of the log gives."""
        current = await self._head()
        assert current.lineage == self._loop.learned.lineage
        straight = self._learner(current.arguments)
        for window in sorted(self._windows):
            self._learn(straight, window)
        assert _sha256(straight.save()) == current.sha256
        straight.close()

    def _learner(self, arguments: str) -> Learner:
        return Learner(arguments, None, self._loop.policy.resuming)

    async def _head(self) -> Version:
        """The version that learns on; it may not serve, since another one may be pinned."""
        read, _ = await pointer.read(self._blobs, self._loop.id)
        assert read is not None
        return read.head

    def _learn(self, learner: Learner, window: Window) -> int:
        lines = [line for line in self._lines(window, joined.DSJSON) if not line.startswith(b'{"_skipLearn":true')]
        for line in lines:
            learner.learn(line)
        return len(lines)

    async def check_gone(self, spares: set[str]) -> None:
        """Nothing is left of loops that were deleted."""
        left = [*await self._tables.names(""), *await self._blobs.names("")]
        assert [name for name in left if any(spare in name for spare in spares)] == []


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _within(found: list[tuple[int, Row]], window: Window) -> list[tuple[int, Row]]:
    return [one for one in found if window.start <= one[0] < window.end]


def settle(fleet: Fleet, storage: str, instances: int) -> None:
    """Let instances that are left alone join and learn all that was sent, and end them in order."""
    ended = time.time()
    left = [fleet.start() for _ in range(instances)]
    wait_until(lambda: asyncio.run(all_learned(storage, ended)), 90)
    for instance in left:
        fleet.signal(instance, signal.SIGTERM)
        assert instance.wait_ended() == 0


async def all_learned(storage: str, ended: float) -> bool:
    """Whether what came before a time is joined and learned, and what is to go is gone."""
    async with AzureStorage(storage) as azure:
        blob = await azure.blobs.get(deployments.DEPLOYMENT)
        assert blob is not None
        deployment = deployments.decode(blob.data)
        loop_id = deployment.loops[DEFAULT]
        checkpoint, _ = await checkpoints.load(azure.blobs, loop_id)
        read, _ = await pointer.read(azure.blobs, loop_id)
        old = await azure.blobs.names(f"loops/{loop_id}/joined/year=2020")
        old += await azure.tables.names(f"rank{loop_id}2020") + await azure.tables.names(f"obs{loop_id}2020")
        # A loop that nothing is noted of has nothing to join, and its mark stays where it is.
        whole = checkpoint.watermark > ended or loop_id not in await activity.noted(azure.tables)
        learned = read is not None and read.head.trained_through >= min(checkpoint.watermark, ended)
        return whole and learned and not deployment.deleted and not old


async def audit(storage: str, traffic: Traffic, pruned: bool = False, killed: bool = True) -> Found:
    """Judge what traffic has left in storage.

    Args:
        storage: a connection string.
        traffic: what was sent, and answered.
        pruned: whether the journal's rows were deleted as they were joined, and so cannot be looked at.
        killed: whether instances were: then events that were answered as pending may be lost.
    """
    async with AzureStorage(storage) as azure:
        deployment = await azure.blobs.get(deployments.DEPLOYMENT)
        assert deployment is not None
        loop_id = deployments.decode(deployment.data).loops[DEFAULT]
        blob = await azure.blobs.get(settings.path(loop_id))
        assert blob is not None
        loop = settings.decode(loop_id, blob.data, blob.etag)
        checkpoint, _ = await checkpoints.load(azure.blobs, loop_id)
        judged = Audit(azure, loop, checkpoint)
        await judged.read(traffic.began)
        judged.check_events(traffic, killed)
        judged.check_rewards(traffic)
        if not pruned:
            await judged.check_windows()
        await check_series(azure.blobs, loop, checkpoint)
        await judged.check_versions()
        await judged.check_model()
        assert judged.found.rewarded > 0
        await judged.check_gone(traffic.spares)
        return judged.found
