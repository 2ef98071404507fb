"""An erased event and person on a real Azurite: asked for over HTTP, and searched for in all that is stored."""

import io
import urllib.parse
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from localhost.azurite import Azurite
from shared import app as running
from shared.app import App
from shared.config import Config
from shared.edge import erasures as edge
from shared.learning import registry
from shared.learning.lesson import Job, learn
from shared.learning.model import Learner
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.eraser import QUIET
from shared.log.records import digest_of
from shared.loops.loops import DEFAULT
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.storage.azure import AzureStorage
from tests.contract.conftest import KEY as DEPLOYMENT_KEY
from tests.contract.conftest import Deployment, deployment
from tests.integration.timed import TimedTables
from tests.stored import everything
from tests.unit.edge.inmemory import KEY, InMemory
from tests.unit.edge.test_erasures import Pauses

DAY, HOUR = 86_400, 3600.0
ACTIONS = [{"id": f"a{n}", "features": [{"x": n}]} for n in range(3)]
POLICY = {"name": "mine", "arguments": DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT].replace("-l 0.001", "-l 0.002")}
NEWEST = "?api-version=2022-09-01-preview"


class OnAzurite(InMemory):
    """An app on an Azurite of its own, whose clock is moved by hand, and the calls to it; noon of some day at first."""

    def __init__(self, storage: AzureStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_700_000_040.0 // DAY * DAY + DAY / 2 + 1.5
        self.storage = storage
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(edge, "asyncio", Pauses(self))
        self.restart()

    def restart(self) -> None:
        """Another instance, which remembers nothing."""
        settings = Config("", KEY, log_deadline=30.0, reward_deadline=30.0)
        self.app = App(settings, TimedTables(self, self.storage.tables), self.storage.blobs)  # type: ignore[arg-type]
        self.app.clock.local = self._time
        self.monkeypatch.setattr(running, "current", lambda: self.app)

    def move(self, seconds: float) -> None:
        assert self.now is not None
        self.now += seconds

    async def rank(self, event_id: str, subject: str | None = None, reward: float | None = None, n: int = 0) -> None:
        body = {"eventId": event_id, "contextFeatures": [{"n": n % 5}], "actions": ACTIONS}
        headers = {} if subject is None else {"x_rankloop_subject": subject}
        assert (await self("POST", "personalizer/v1.0/rank", body, **headers)).status_code == 201
        if reward is not None:
            path = f"personalizer/v1.0/events/{urllib.parse.quote(event_id, safe='')}/reward"
            assert (await self("POST", path, {"value": reward})).status_code == 204
        self.move(2.0)

    async def timers(self, seconds: float) -> None:
        self.move(seconds)
        await self.app.join_due()
        await self.app.train_due()
        assert [name for name in self.app.counters.snapshot() if name.endswith(".failed")] == []

    async def lines(self, loop_id: str) -> list[bytes]:
        windows = await joined.windows(self.storage.blobs, loop_id, 0, 2**33)
        return [line for window in windows for line in await joined.read(self.storage.blobs, loop_id, window)]

    async def parquet(self) -> list[dict[str, Any]]:
        """All rows of all Parquet files."""
        blobs = self.storage.blobs
        files = [await blobs.get(path) for path in await blobs.names("") if path.endswith(".parquet")]
        return [row for blob in files if blob for row in pq.read_table(io.BytesIO(blob.data)).to_pylist()]

    async def holding(self, *needles: bytes) -> set[str]:
        """Where any of some bytes are."""
        return {
            place
            async for place, data in everything(self.storage.tables, self.storage.blobs)
            if any(needle in data for needle in needles)
        }


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OnAzurite]:
    with Azurite() as azurite:
        async with AzureStorage(azurite.connection_string) as storage:
            yield OnAzurite(storage, monkeypatch)


def traces(event_id: str) -> list[bytes]:
    """How an event id may stand anywhere: as text, and as the digest in indexes and marks."""
    return [event_id.encode(), digest_of(event_id)]


async def test_what_was_erased_is_found_nowhere_and_never_learned_again(world: OnAzurite) -> None:
    loop = await world.app.loops.named(DEFAULT)
    for n in range(40):
        await world.rank(f"joined-{n:02}", f"user/{n % 4}", 0.25 * (n % 5) if n % 3 else None, n)
    await world.timers(HOUR + 200.0)
    await world.rank("between", "user/0")  # behind which the hour is closed
    await world.timers(1200.0)
    for n in range(20):
        await world.rank(f"pending-{n:02}", f"user/{n % 4}", 0.5 if n % 2 else None, n)
        await world("POST", f"personalizer/v1.0/events/joined-{n:02}/reward", {"value": 1.0})  # too late to count
    await world.timers(0.0)
    tag = await world.app.subjects.tag(loop.id, "user/1")
    gone = [f"{kind}-{n:02}" for kind, count in (("joined", 40), ("pending", 20)) for n in range(1, count, 4)]
    gone += ["joined-06", "pending-06"]
    needles = [tag.encode(), *(trace for event_id in gone for trace in traces(event_id))]
    before = await world.lines(loop.id)
    held = await world.holding(*needles)
    for kind in ("rank", "obs", ".dsjson", ".observations", "/index/", "/parquet/events/", "/parquet/observations/"):
        assert [place for place in held if kind in place] != [], "it is in all of these at first"
    whole = [row for row in await world.parquet() if row["event_id"] not in gone]

    paths = ("events/joined-06", "events/pending-06", "subjects/user%2F1", "events/never-was")
    asked = [await world.json("DELETE", f"rankloop/v1/{path}") for path in paths]
    world.restart()
    at_once = await world.json("GET", f"rankloop/v1/erasures/{asked[2]['id']}")
    assert at_once["status"] == "running"
    await world.json("PUT", f"personalizer/configurations/policy{NEWEST}", POLICY)
    await world.timers(60.0)
    retrained = await _model(world, loop.id)
    assert retrained == _straight([line for line in before if not any(e.encode() in line for e in gone)], loop)
    for _ in range(3):
        await world.timers(HOUR / 2)
    world.restart()
    await world.timers(QUIET + 61)

    assert await world.holding(*needles) == set()
    assert [e["status"] for e in (await world.json("GET", "rankloop/v1/erasures"))["value"]] == ["done"] * 4
    removed = (await world.json("GET", f"rankloop/v1/erasures/{asked[2]['id']}"))["removed"]
    assert (removed["events"], removed["windows"] > 0, removed["rows"] > 0) == (15, True, True)
    after = await world.lines(loop.id)
    kept = [line for line in before if not any(event_id.encode() in line for event_id in gone)]
    assert after[: len(kept)] == kept, "the others are as they were, to the byte"
    ids = [orjson.loads(line)["EventId"] for line in after]
    told = [*(f"joined-{n:02}" for n in range(40)), "between", *(f"pending-{n:02}" for n in range(20))]
    assert ids == [event_id for event_id in told if event_id not in gone]
    rewards = {orjson.loads(line)["EventId"]: -orjson.loads(line)["_label_cost"] for line in after}
    assert [rewards[f"pending-{n:02}"] for n in (0, 2, 3, 7)] == [0.0, 0.0, 0.5, 0.5]
    checkpoint, _ = await checkpoints.load(world.storage.blobs, loop.id)
    assert checkpoint.erasures == []
    rows_now = await world.parquet()
    assert [row for row in rows_now if row in whole] == whole
    assert {row["event_id"] for row in rows_now} >= {event_id for event_id in ids if event_id.startswith("pending")}
    assert world.app.counters["join.late_rows"] == 0

    await world.json("PUT", f"personalizer/configurations/policy{NEWEST}", {**POLICY, "arguments": OTHER})
    await world.timers(HOUR)
    assert await _model(world, loop.id) == _straight(after, await world.app.loops.named(DEFAULT))


OTHER = POLICY["arguments"].replace("-l 0.002", "-l 0.003")


async def _model(world: OnAzurite, loop_id: str) -> bytes:
    version, _ = await registry.current(world.storage.blobs, loop_id)
    assert version is not None
    return await registry.load(world.storage.blobs, loop_id, version)


def _straight(lines: list[bytes], loop: Any) -> bytes:
    """The model of one run over some lines with the policy that was PUT last."""
    arguments = OTHER if "0.003" in loop.policy.arguments else POLICY["arguments"]
    learner = Learner(arguments, None)
    job = Job(loop.id, arguments, "", "", False, "Online", 0, 0, 0, 0.0)
    learn(learner, lines, job)
    model = learner.save()
    learner.close()
    return model


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with deployment(tmp_path_factory.mktemp("erased")) as made:
        yield made


def test_over_http_an_id_or_a_subject_may_hold_slashes(served: Deployment) -> None:
    key = {"Ocp-Apim-Subscription-Key": DEPLOYMENT_KEY}
    for instance in (served.kept, served.decoded):
        rank = {"eventId": "a/b", "actions": ACTIONS}
        got = instance.call("POST", "/personalizer/v1.0/rank", rank, headers={**key, "x-rankloop-subject": "c/d e"})
        assert got.status == 201, got.body
        tags = set()
        for spelled in ("a/b", "a%2Fb"):
            asked = instance.call("DELETE", f"/rankloop/v1/events/{spelled}", headers=key)
            assert (asked.status, asked.json["kind"]) == (202, "event"), asked.body
            place = urllib.parse.urlsplit(asked.headers["Operation-Location"]).path
            told = instance.call("GET", place, headers=key)
            assert (told.status, told.json) == (200, asked.json)
        for spelled in ("c/d%20e", "c%2Fd%20e"):
            asked = instance.call("DELETE", f"/rankloop/v1/subjects/{spelled}", headers=key)
            assert (asked.status, asked.json["kind"]) == (202, "subject"), asked.body
            tags.add(asked.json["id"])
        assert len(tags) == 2
        refused = instance.call("DELETE", "/rankloop/v1/subjects/Zo%C3%AB", headers=key)
        assert (refused.status, refused.json["error"]["target"]) == (400, "subject")
