"""Turns a served app into one under load, and what it answered into what must stand in the log."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from shared.log import joined, rows
from shared.log.records import Observed, decode_observed, decode_ranked
from shared.log.rows import decompress
from shared.storage.azure import AzureStorage
from tests.integration.served import Served

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key"
HEADERS = {"Ocp-Apim-Subscription-Key": KEY, "Content-Type": "application/json"}
WAIT = 5.0
"""The loop's reward wait in seconds, as the tests set it."""
PATIENCE = 40.0
"""Seconds after which an answer counts as one that never came."""


@contextmanager
def serving(storage: str) -> Iterator[Served]:
    """The product itself, on a free port."""
    settings = {
        "RANKLOOP_STORAGE": storage,
        "AzureWebJobsStorage": storage,
        "RANKLOOP_KEY": KEY,
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "RANKLOOP_JOIN_SCHEDULE": "*/2 * * * * *",
        "RANKLOOP_TRAIN_SCHEDULE": "1/2 * * * * *",
    }
    with Served(ROOT, env=settings) as served:
        yield served


def call(served: Served, method: str, path: str, body: Any = None) -> Any:
    """One call of the API that must succeed; the answer's JSON."""
    answer = served.request(method, path, orjson.dumps(body) if body is not None else None, HEADERS)
    assert answer.status == 200, answer.text
    return orjson.loads(answer.body)


def configure(served: Served, **changes: Any) -> None:
    """Change some service settings."""
    path = "/personalizer/v1.0/configurations/service"
    call(served, "PUT", path, call(served, "GET", path) | changes)


def health(served: Served) -> Any:
    """What the instance says of itself."""
    return call(served, "GET", "/rankloop/v1/health")


@dataclass
class Sent:
    """An event, and what was answered: `reward` is the status of the last try, if there was any."""

    id: str
    began: float
    status: int = 0
    pending: bool = False
    value: float = 0.0
    reward: int | None = None
    rewarded: float = 0.0

    @property
    def durable(self) -> bool:
        return self.status == 201 and not self.pending


@dataclass
class Load(threading.Thread):
    """Callers that rank and reward until told to stop, each as soon as it was answered."""

    address: str
    callers: int = 6
    sent: list[Sent] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    slowest: float = 0.0
    ending: bool = False
    """Whether the app may be gone: then calls may stay without an answer."""

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._stop_now = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        asyncio.run(self._run())

    def stop(self) -> None:
        """End it when every call under way is answered."""
        self._stop_now.set()
        self.join()

    def durable_again(self, seconds: float) -> float:
        """Wait until all callers are answered durably; how long it took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            last = [s for s in self.sent[-40:] if s.status]
            if len(last) > 20 and all(s.durable and s.began > began and s.reward in (204, None) for s in last):
                return time.monotonic() - began
            time.sleep(0.1)
        raise TimeoutError(f"not durable again after {seconds} s: {Counter((s.status, s.pending) for s in last)}")

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
            await asyncio.gather(*(self._caller(session, random.Random(n)) for n in range(self.callers)))

    async def _caller(self, session: aiohttp.ClientSession, chance: random.Random) -> None:
        while not self._stop_now.is_set():
            sent = Sent(uuid.uuid4().hex, time.monotonic(), value=chance.choice([0.25, 0.5, 1.0]))
            try:
                await self._event(session, sent, chance)
            except (aiohttp.ClientError, ConnectionError) as error:
                if not self.ending:
                    self.problems.append(f"no answer: {error!r}")
                return
            except TimeoutError:
                self.problems.append(f"no answer within {PATIENCE} s")
                return
            finally:
                self.sent.append(sent)
            await asyncio.sleep(0.02)

    async def _event(self, session: aiohttp.ClientSession, sent: Sent, chance: random.Random) -> None:
        actions = [{"id": f"a{n}", "features": [{"n": n}]} for n in range(3)]
        body = {"eventId": sent.id, "contextFeatures": [{"hour": chance.randrange(24)}], "actions": actions}
        sent.status, headers = await self._post(session, "rank", body, (201, 503))
        sent.pending = headers.get("x-rankloop-log") == "pending"
        if sent.status != 201 or chance.random() < 0.3:
            return
        # As the SDKs do: again under the same request id, a few times.
        again = {"x-ms-client-request-id": uuid.uuid4().hex}
        for _ in range(5):
            path = f"events/{sent.id}/reward"
            sent.rewarded = time.monotonic()
            sent.reward, _ = await self._post(session, path, {"value": sent.value}, (204, 503), again)
            if sent.reward == 204:
                return
            await asyncio.sleep(0.5)

    async def _post(
        self,
        session: aiohttp.ClientSession,
        path: str,
        body: Any,
        allowed: tuple[int, int],
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        began = time.monotonic()
        url = f"{self.address}/personalizer/v1.0/{path}"
        async with session.post(url, data=orjson.dumps(body), headers=HEADERS | (headers or {})) as answer:
            text = await answer.text()
            self.slowest = max(self.slowest, time.monotonic() - began)
            if answer.status not in allowed:
                self.problems.append(f"{path}: {answer.status} {text[:200]}")
            if answer.status == 503 and "Retry-After" not in answer.headers:
                self.problems.append(f"{path}: 503 without Retry-After")
            return answer.status, answer.headers


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Return when the condition holds; TimeoutError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not come about in {seconds} s")
        time.sleep(0.5)


@dataclass
class Log:
    """What stands in a loop's log: the joined lines by event id, and all observations that arrived."""

    lines: list[dict[str, Any]]
    observed: list[Observed]


def read_joined(storage: str, loop_id: str) -> Log:
    """The joined log and the observations beside it."""

    async def read() -> Log:
        async with AzureStorage(storage) as azure:
            windows = await joined.windows(azure.blobs, loop_id, 0, 2**33)
            lines = [orjson.loads(line) for w in windows for line in await joined.read(azure.blobs, loop_id, w)]
            observed = []
            for path in await azure.blobs.names(joined.log_path(loop_id)):
                if path.endswith(".observations.zst"):
                    blob = await azure.blobs.get(path)
                    assert blob is not None
                    observed += [decode_observed(line) for line in decompress(blob.data).split(b"\n")]
            return Log(lines, observed)

    return asyncio.run(read())


def read_journal(storage: str, loop_id: str) -> tuple[Counter[str], Counter[str]]:
    """How often each event id stands in the journal: as ranked, and as observed."""

    async def read() -> tuple[Counter[str], Counter[str]]:
        async with AzureStorage(storage) as azure:
            found = []
            for stream, decode in (("rank", decode_ranked), ("obs", decode_observed)):
                counts: Counter[str] = Counter()
                for table in await azure.tables.names(f"{stream}{loop_id}"):
                    async for row, _ in azure.tables.query(table, ("", "~")):
                        counts.update(decode(line).e for line in await rows.lines(row, azure.blobs))
                found.append(counts)
            return found[0], found[1]

    return asyncio.run(read())


def check_log(sent: list[Sent], log: Log) -> None:
    """Every durable event stands once, others once at most, each with the rewards that arrived in its window."""
    stands = Counter(line["EventId"] for line in log.lines)
    assert not [one.id for one in sent if one.durable and stands[one.id] != 1]
    assert not [event_id for event_id, times in stands.items() if times > 1]
    assert set(stands) <= {one.id for one in sent}

    observed = {o.e: o for o in reversed(sorted(log.observed, key=lambda o: o.t))}  # the first of each event
    assert not [one.id for one in sent if one.reward == 204 and one.id not in observed]
    values = {one.id: one.value for one in sent}
    in_time = 0
    for line in log.lines:
        event_id = line["EventId"]
        first = observed.get(event_id)
        ranked = datetime.fromisoformat(line["Timestamp"]).timestamp()
        earned = values[event_id] if first is not None and first.t - ranked < WAIT else 0.0
        in_time += earned > 0
        assert -line["_label_cost"] == earned, event_id
    assert in_time > len(log.lines) / 3
