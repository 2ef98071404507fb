"""Storage that answers badly under load: every call is answered, nothing acknowledged is lost or stands twice, the
model is the one that the log gives, and all of it without a restart."""

import asyncio
import hashlib
import itertools
import math
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from localhost.azurite import Azurite
from shared.clock import StorageClock
from shared.counters import Counters
from shared.learning import registry, trainer
from shared.learning.lesson import Job, Lesson, learn
from shared.learning.model import Learner
from shared.learning.registry import Version
from shared.learning.trainer import Trainer
from shared.log import activity, joined, joiner
from shared.log import checkpoint as checkpoints
from shared.log.buckets import Waits, bucket_of, day_of
from shared.log.join import LoopRules
from shared.log.joiner import Joiner
from shared.log.journal import Journal
from shared.log.records import ONLINE
from shared.log.rows import bucket_of_partition, table_name
from shared.storage import Row, StorageError
from shared.storage.azure import AzureStorage
from tests.faults.load import WAIT, Load, Log, Sent, check_log, configure, health, read_joined, serving, wait_until
from tests.faults.proxy import SLOW, Fault, Proxy, Rule
from tests.integration.test_pipeline import MIDNIGHT, POLICY, WAITS, history, outcome, wanted_lines
from tests.journalled import journal as journalled

JOB = Job("", POLICY.training, "", POLICY.lineage, False, ONLINE, 0, 0, 0, 5.0)
STALL = 30.0
PHASES = {
    "answers are lost": Rule(Fault.LOST, chance=0.3),
    "connections are reset": Rule(Fault.REFUSED, chance=0.5),
    "it is busy": Rule(Fault.BUSY, chance=0.5, seconds=1.0),
    "it is asked too often": Rule(Fault.THROTTLED, chance=0.5, seconds=0),
    "it is busy, and asks for a minute": Rule(Fault.BUSY, chance=0.2, seconds=60.0),
    "it stalls": Rule(Fault.STALLED, chance=0.1, seconds=STALL),
    "it writes late": Rule(Fault.LATE, chance=0.1, seconds=8.0),
    "answers trickle": Rule(Fault.TRICKLED, chance=0.1, seconds=STALL),
    "answers are cut off": Rule(Fault.TRUNCATED, chance=0.3),
    "reads are torn": Rule(Fault.TORN, service="blob", method="GET", chance=0.5),
}
LASTS = 4.0
"""Seconds of a phase; then storage is good again."""


@dataclass
class Campaign:
    """What became of a load under one fault after another, on one app that was never restarted."""

    sent: dict[str, list[Sent]] = field(default_factory=dict)
    recovered: dict[str, float] = field(default_factory=dict)
    struck: Counter[Fault] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slowest: float = 0.0
    counters: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    log: Log = field(default_factory=lambda: Log([], []))
    stored: list[bytes] = field(default_factory=list)
    version: Version | None = None

    @property
    def every(self) -> list[Sent]:
        return [one for sent in self.sent.values() for one in sent]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    result = Campaign()
    with (
        Azurite(tmp_path_factory.mktemp("azurite")) as azurite,
        Proxy(azurite) as proxy,
        serving(proxy.connection_string) as served,
    ):
        configure(served, rewardWaitTime="PT5S", modelExportFrequency="PT5S", rewardAggregation="sum")
        load = Load(served.address)
        load.start()
        try:
            load.durable_again(20)
            for name, rule in PHASES.items():
                before = len(load.sent)
                proxy.plan(rule)
                time.sleep(LASTS)
                proxy.plan()
                result.recovered[name] = load.durable_again(20)
                result.sent[name] = load.sent[before:]
            time.sleep(2)
        finally:
            load.stop()
        taken = {one.id for one in result.every}
        result.sent["it is good"] = [one for one in load.sent if one.id not in taken]
        ended = health(served)["time"]
        wait_until(lambda: (health(served)["joinedThrough"] or 0) > ended, 40)
        wait_until(lambda: (health(served)["trainedThrough"] or 0) > ended, 40)
        state = health(served)
        result.counters, result.waiting = state["counters"], state["waitingBytes"]
        result.struck, result.problems, result.slowest = proxy.struck, load.problems, load.slowest
        result.log = read_joined(azurite.connection_string, state["loopId"])
        result.stored, result.version = asyncio.run(learned(azurite.connection_string, state["loopId"]))
    yield result


async def learned(storage: str, loop_id: str) -> tuple[list[bytes], Version | None]:
    """The joined log as it is stored, as far as the serving model has learned it, and that model's version."""
    async with AzureStorage(storage) as azure:
        version, _ = await registry.current(azure.blobs, loop_id)
        windows = await joined.windows(azure.blobs, loop_id, 0, version.trained_through if version else 0)
        return [line for window in windows for line in await joined.read(azure.blobs, loop_id, window)], version


@pytest.mark.parametrize("name", PHASES)
def test_nothing_acknowledged_is_lost_or_stands_twice_while(campaign: Campaign, name: str) -> None:
    sent = campaign.sent[name]
    stands = Counter(line["EventId"] for line in campaign.log.lines)
    observed = {observation.e for observation in campaign.log.observed}

    assert campaign.struck[PHASES[name].fault] > 0
    assert len(sent) > 20
    assert not [one.id for one in sent if one.durable and stands[one.id] != 1]
    assert not [one.id for one in sent if stands[one.id] > 1]
    assert not [one.id for one in sent if one.reward == 204 and one.id not in observed]


def test_the_log_is_what_was_answered(campaign: Campaign, tell: Callable[[str], None]) -> None:
    counters, every = campaign.counters, campaign.every
    pending = [one for one in every if one.pending]
    for name, sent in campaign.sent.items():
        answers = Counter("pending" if one.pending else str(one.status) for one in sent)
        tell(f"{name}: {dict(answers)}, durable again after {campaign.recovered.get(name, 0):.1f} s")
    told = {name: times for name, times in counters.items() if name.startswith(("storage.", "journal.", "join."))}
    tell(f"slowest answer {campaign.slowest:.1f} s; {told}")

    assert campaign.problems == []
    check_log(every, campaign.log)
    stands = {line["EventId"] for line in campaign.log.lines}
    assert sum(one.id not in stands for one in pending) <= counters.get("journal.lost", 0)
    assert counters["rank.pending"] == len(pending)
    assert campaign.waiting == 0


def test_no_answer_is_held_by_a_stall(campaign: Campaign) -> None:
    assert campaign.slowest < STALL / 2


def test_the_model_is_the_one_that_this_log_gives(campaign: Campaign) -> None:
    """Learned in one straight run, the joined lines make the very bytes that serve."""
    assert campaign.version is not None
    model, lesson = learned_straight(campaign.stored, campaign.version.arguments)

    assert (lesson.events, lesson.refused) == (campaign.version.events, 0)
    assert hashlib.sha256(model).hexdigest() == campaign.version.sha256


def test_what_storage_did_is_counted(campaign: Campaign) -> None:
    counted = {name for name, times in campaign.counters.items() if times > 0}

    assert {"storage.busy", "storage.retries", "storage.failed", "journal.retries"} <= counted
    assert "http.500" not in counted


# -- the journal -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
async def test_a_write_of_unknown_outcome_is_repeated_under_its_keys_while_its_bucket_is_open_and_never_moved(
    azurite: Azurite,
) -> None:
    """A loop for each fault: some pass, and some stay until the bucket has closed."""
    waits, counters = Waits(((0, WAIT),)), Counters()
    faults = {
        uuid.uuid4().hex: (fault, times)
        for fault, times in itertools.product((Fault.LOST, Fault.REFUSED, Fault.LATE, Fault.TRUNCATED), (2, math.inf))
    }
    with Proxy(azurite) as proxy:
        proxy.plan(*(Rule(fault, path=f"rank{loop}", times=n, seconds=1.0) for loop, (fault, n) in faults.items()))
        async with AzureStorage(azurite.connection_string) as good, AzureStorage(proxy.connection_string) as bad:
            clock = StorageClock(lambda: bad.tables.put("clock", {"PartitionKey": "clock", "RowKey": "probe"}))
            await clock.ensure()
            journal = Journal(bad.tables, bad.blobs, clock, counters)
            now = journal.now()
            for loop in faults:  # its day has begun: rows need no table of their own
                await good.tables.put(
                    table_name("rank", loop, day_of(bucket_of(now))), {"PartitionKey": "~", "RowKey": ""}
                )
            lines = {loop: journal.append("rank", loop, waits, b"a line", now) for loop in faults}
            await journal.drain()
            await asyncio.to_thread(proxy.settle)
            stands = {loop: [row async for row, _ in rank_rows(good, loop, bucket_of(now))] for loop in faults}
            proxy.plan()
            assert await journal.append("rank", next(iter(faults)), waits, b"another", journal.now()).durable(WAIT)

    for loop, (fault, times) in faults.items():
        assert lines[loop].done.result() is (times == 2), fault
        # What was lost may stand all the same where only its answers went missing; it was never acknowledged.
        assert len(stands[loop]) == (0 if fault is Fault.REFUSED and times == math.inf else 1), fault
        assert all(bucket_of_partition(str(row["PartitionKey"])) == bucket_of(now) for row in stands[loop]), fault
    assert counters["journal.lost"] == sum(times == math.inf for _, times in faults.values())


def rank_rows(storage: AzureStorage, loop_id: str, day: int) -> AsyncIterator[tuple[Row, str]]:
    return storage.tables.query(table_name("rank", loop_id, day_of(day)), ("", "~"))


# -- the timers ------------------------------------------------------------------------------------------------------

TARGETS = {
    "the joined lines": ("blob", "PUT", r".*/joined/.*\.dsjson"),
    "the observations": ("blob", "PUT", r".*/joined/.*\.observations"),
    "the index": ("blob", "PUT", r".*/joined/.*\.index"),
    "the checkpoint": ("blob", "PUT", r".*/join\.json"),
    "the model": ("blob", "PUT", r".*/model\.vw"),
    "the pointer": ("blob", "PUT", r".*/current\.json"),
    "a note": ("table", "PUT", r"activity"),
    "a note that is taken away": ("table", "DELETE", r"activity"),
}
CASES = {
    **{f"the answer to {name} is lost twice": Rule(Fault.LOST, *target, times=2) for name, target in TARGETS.items()},
    **{
        f"{name} is written late": Rule(Fault.LATE, *TARGETS[name], times=2, seconds=1.0)
        for name in ("the checkpoint", "the pointer", "a note")
    },
    **{
        f"anything is {fault.name.lower()}": Rule(fault, chance=0.03, seconds=1.5)
        if fault in SLOW
        else Rule(fault, chance=0.1, seconds=0)
        for fault in Fault
        if fault is not Fault.TORN
    },
    "reads are torn": Rule(Fault.TORN, method="GET", chance=0.5),
}


class Timers:
    """The join and the training of one loop, run after run as the timers do."""

    def __init__(self, storage: AzureStorage, counters: Counters) -> None:
        self._tables, self._blobs, self._counters = storage.tables, storage.blobs, counters
        self.loop = LoopRules(uuid.uuid4().hex, WAITS, 0.0, "sum", (-1.0, 1.0))
        self._now = MIDNIGHT + 1000.0

    async def run(self) -> bool:
        """Both timers once; whether they found nothing to do any more."""
        self._now += 6  # the next export slot
        spans = (await activity.noted(self._tables)).get(self.loop.loop_id, [])
        await Joiner(self._tables, self._blobs, self._counters).run(self.loop, spans, self._now)
        checkpoint, _ = await checkpoints.load(self._blobs, self.loop.loop_id)
        grown = [note for note in await activity.untrained(self._tables) if note.loop_id == self.loop.loop_id]
        job = replace(JOB, loop_id=self.loop.loop_id, watermark=checkpoint.watermark)
        for note in grown:
            if await Trainer(self._blobs, self._counters).run(job, self._now) is None:
                await activity.trained(self._tables, note)
        return not spans and not grown


async def until_idle(timers: Timers) -> None:
    """Run after run, each as far as it comes."""
    for _ in range(60):
        with suppress(StorageError):
            if await timers.run():
                return
    pytest.fail("the timers never came to an end")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", CASES)
async def test_the_timers_leave_log_and_model_as_they_should_be_though(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 20)
    monkeypatch.setattr(trainer, "MAX_EVENTS", 40)
    counters, records, rule = Counters(), history(1, 40), replace(CASES[name])
    with Proxy(azurite) as proxy:
        proxy.plan(rule)
        async with (
            AzureStorage(azurite.connection_string) as good,
            AzureStorage(proxy.connection_string, counters.add) as bad,
        ):
            timers = Timers(bad, counters)
            await journalled(good.tables, records, WAITS, loop_id=timers.loop.loop_id)
            await until_idle(timers)
            await asyncio.to_thread(proxy.settle)  # what is late may still take effect
            lines, _, model, _ = await outcome(good.blobs, timers.loop.loop_id)
            version, _ = await registry.current(good.blobs, timers.loop.loop_id)

    assert rule.struck > 0
    assert lines == wanted_lines(records, timers.loop)
    straight, lesson = learned_straight(lines, JOB.arguments)
    assert version is not None
    assert version.events == lesson.events
    assert model == straight
    if rule.fault is Fault.LOST and rule.method == "PUT" and rule.service == "blob":
        assert counters["storage.lost_answers"] > 0
        assert counters["join.rivals"] + counters["train.rivals"] == 0, "nobody was in its way but itself"
    if rule.fault is Fault.TORN:
        assert counters["storage.torn"] > 0


def learned_straight(lines: Sequence[bytes], arguments: str) -> tuple[bytes, Lesson]:
    """The model of some joined lines, learned in one run."""
    learner = Learner(arguments, None)
    lesson = learn(learner, lines, JOB)
    model = learner.save()
    learner.close()
    return model, lesson
