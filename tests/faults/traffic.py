"""Turns a seed into clients of instances that come and go, and keeps what they were answered."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import aiohttp
import orjson

from shared.log.subject import HEADER as SUBJECT
from tests.faults.load import HEADERS, PATIENCE

WAIT = 5.0
"""Seconds of a loop's reward wait, where it has no other."""
SETTINGS: dict[str, Any] = {
    "rewardWaitTime": "PT5S",
    "modelExportFrequency": "PT5S",
    "rewardAggregation": "sum",
    "logRetentionDays": 2,
}
_TRIES = 4
MOST_CALLS = 2 * _TRIES
"""Of one event at most that rank it, or of one reward that tell it."""
_PAUSE = 0.3
_WHAT = re.compile(r"/(rank|reward|activate|service|events|subjects|erasures|loops|versions|rollback|pin)(?=/|$)")
_BIG = 12_000
"""Hex digits of a context that fits into no row (`worker`)."""


class _Answer(NamedTuple):
    """What came back; no status where nothing did."""

    status: int | None = None
    body: bytes = b""
    pending: bool = False


@dataclass
class Ranked:
    """An event that was sent: whether it waits for activation, whose it is, and what the answers to it were.

    Attributes:
        under_way: how much of it is being sent, or still to be sent.
    """

    deferred: bool
    subject: str = ""
    durable: bool = False
    pending: bool = False
    under_way: int = 1


@dataclass
class Observed:
    """A reward or an activation that was sent under one request id, perhaps more than once."""

    kind: Literal["r", "a"]
    value: float
    durable: bool = False


@dataclass
class Traffic(threading.Thread):
    """Clients that rank, reward and activate until told to stop, as SDKs do: what fails is tried again.

    Attributes:
        addresses: tells where something serves now.
        seed: of all that is sent.
        pace: seconds that each client pauses between events.
        churning: whether loops come and go besides.
        loop: its name; the default one where there is none.
        settings: of the loop.
        now: the time as the instances have it.
        noisy: the share of events that fit into no row.
        resting: whether no new event is to be sent for the time being.
        ranked: by event id.
        observed: by event id and request id.
        answers: how many there were of each.
        problems: answers that there must not be.
        spares: ids of loops that were made, used and deleted again.
        erased: ids of events that were erased.
        unsure: ids of events of which that is not known.
        rounds: how often a setting was changed and a version made to serve.
    """

    addresses: Callable[[], list[str]]
    seed: int
    clients: int = 4
    pace: float = 0.15
    churning: bool = True
    loop: str = ""
    settings: Mapping[str, Any] = field(default_factory=lambda: SETTINGS)
    now: Callable[[], float] = time.time
    noisy: float = 0.08
    resting: bool = False
    ranked: dict[str, Ranked] = field(default_factory=dict)
    observed: dict[tuple[str, str], Observed] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    spares: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    rounds: int = 0

    def __post_init__(self) -> None:
        self.began = self.now() - WAIT
        super().__init__(daemon=True)
        self._chance = random.Random(self.seed)
        self._stop_now = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        asyncio.run(self._run())

    def stop(self) -> None:
        """End it when every call under way is answered, or failed."""
        self._stop_now.set()
        self.join()

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        connector = aiohttp.TCPConnector(force_close=True)  # none is kept to an instance that may be gone
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, headers=HEADERS) as self._session:
            while not self._stop_now.is_set() and not await self._configure():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await asyncio.sleep(5.0)  # an instance may go on for so long with the settings it knew
            await asyncio.gather(*(self._client() for _ in range(self.clients)), *self._besides())

    def _besides(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on beside the clients."""
        return [self._churn()] if self.churning else []

    def _delay(self) -> float:
        """Seconds until a reward is sent: in time, about the end of the window, and late."""
        chance = self._chance
        return chance.choice([chance.uniform(0, 3), chance.uniform(0, 3), WAIT - 0.1, WAIT + 1])

    def _subject(self) -> str:
        """Whose the next event is, if anybody's."""
        return f"somebody {self._chance.randrange(9)}" if self._chance.random() < 0.3 else ""

    @property
    def durable(self) -> int:
        """How many events were answered, and are in the log for good."""
        return sum(ranked.durable for ranked in list(self.ranked.values()))

    @property
    def _root(self) -> str:
        """Where the loop is found."""
        return f"/loops/{self.loop}" if self.loop else ""

    async def _client(self) -> None:
        async with asyncio.TaskGroup() as later:
            while not self._stop_now.is_set():
                if not self.resting:
                    await self._event(later)
                await asyncio.sleep(self.pace * self._chance.uniform(0.5, 1.5))

    async def _event(self, later: asyncio.TaskGroup) -> None:
        chance = self._chance
        event_id = f"{chance.getrandbits(128):032x}"
        ranked = self.ranked[event_id] = Ranked(chance.random() < 0.25, self._subject())
        context: dict[str, Any] = {"hour": chance.randrange(24)}
        if chance.random() < self.noisy:
            context["noise"] = f"{chance.getrandbits(4 * _BIG):x}"
        body = {
            "eventId": event_id,
            "contextFeatures": [context],
            "actions": [{"id": f"a{n}", "features": [{"n": n}]} for n in range(3)],
            "deferActivation": ranked.deferred,
        }
        if chance.random() < 0.1:
            await self._observe(event_id, "r", 0.0)  # early
        headers = {SUBJECT: ranked.subject} if ranked.subject else {}
        for _ in range(2 if chance.random() < 0.1 else 1):  # the second as a proxy repeats what was answered already
            for _ in range(_TRIES):
                answer = await self._send("POST", f"{self._root}/personalizer/v1.0/rank", body, (201, 503), headers)
                if answer.status == 201:
                    ranked.pending |= answer.pending
                    ranked.durable |= not answer.pending
                    break
        for _ in range(chance.choice([0, 1, 1, 2])):
            later.create_task(self._observe(event_id, "r", self._delay()))
        if ranked.deferred and chance.random() < 0.6:
            later.create_task(self._observe(event_id, "a", chance.uniform(0, 3)))
        ranked.under_way -= 1

    def _observe(self, event_id: str, kind: Literal["r", "a"], delay: float) -> Coroutine[Any, Any, None]:
        self.ranked[event_id].under_way += 1
        return self._observation(event_id, kind, delay)

    async def _observation(self, event_id: str, kind: Literal["r", "a"], delay: float) -> None:
        chance = self._chance
        request_id = f"{chance.getrandbits(128):032x}"
        value = chance.choice([0.125, 0.25]) if kind == "r" else 0.0
        headers = {"x-ms-client-request-id": request_id}
        again = 2 if chance.random() < 0.15 else 1
        await asyncio.sleep(delay)
        observed = self.observed[event_id, request_id] = Observed(kind, value)
        path = f"{self._root}/personalizer/v1.0/events/{event_id}/{'reward' if kind == 'r' else 'activate'}"
        for _ in range(again):
            for _ in range(_TRIES):
                answer = await self._send("POST", path, {"value": value}, (204, 503), headers)
                if answer.status == 204:
                    observed.durable = True
                    break
        self.ranked[event_id].under_way -= 1

    async def _configure(self, **changes: float) -> bool:
        if self.loop:
            made = await self._send("POST", "/rankloop/v1/loops", {"name": self.loop}, (201, 409, 503))
            if made.status not in (201, 409):
                return False
        path = f"{self._root}/personalizer/v1.0/configurations/service"
        held = await self._send("GET", path, None, (200, 404, 503))  # another instance may not know the loop yet
        if held.status != 200:
            return False
        wanted = orjson.loads(held.body) | self.settings | changes
        return (await self._send("PUT", path, wanted, (200, 404, 503))).status == 200

    async def _operate(self) -> None:
        """An operator who rolls back to a version of the model, and unpins it again."""
        listed = await self._send("GET", "/rankloop/v1/versions", None, (200, 503))
        names = [one["version"] for one in orjson.loads(listed.body)["value"]] if listed.status == 200 else []
        if names:
            name = self._chance.choice(names)
            await self._send("POST", f"/rankloop/v1/versions/{name}/rollback", None, (200, 503))
        await self._send("DELETE", "/rankloop/v1/pin", None, (204, 503))

    async def _churn(self) -> None:
        """Loops that come and go, and what each one of them stores; and versions that are made to serve."""
        while not self._stop_now.is_set():
            await asyncio.sleep(4.0)
            # Learned from all of the log, the model is the same: only that it is made anew is to be seen.
            await self._configure(explorationPercentage=0.2 if self.rounds % 2 else 0.3)
            await self._operate()
            self.rounds += 1
            name, loops = f"spare{self.rounds}", "/rankloop/v1/loops"
            for _ in range(_TRIES):
                made = await self._send("POST", loops, {"name": name}, (201, 409, 503))
                if made.status in (201, 409):
                    break
            rank = {"actions": [{"id": a, "features": [{"is": a}]} for a in "ab"]}
            await self._send("POST", f"/loops/{name}/personalizer/v1.0/rank", rank, (201, 404, 503), {SUBJECT: name})
            gone = _Answer()
            while gone.status not in (204, 404) and not (self._stop_now.is_set() and not self.addresses()):
                gone = await self._send("DELETE", f"{loops}/{name}", None, (204, 404, 503))
            # Else the traffic ended with the last instance, and the loop may stand as it was.
            if made.status == 201 and gone.status in (204, 404):
                self.spares.add(orjson.loads(made.body)["id"])

    async def _send(
        self, method: str, path: str, body: Any, allowed: tuple[int, ...], headers: Mapping[str, str] | None = None
    ) -> _Answer:
        """Send it to one of the instances."""
        where = self.addresses()
        if not where:
            await asyncio.sleep(_PAUSE)
            return _Answer()
        data = None if body is None else orjson.dumps(body)
        what = _WHAT.findall(path)[-1]
        try:
            url = self._chance.choice(where) + path
            async with self._session.request(method, url, data=data, headers=headers) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, ConnectionError):
            self.answers[f"{what} none"] += 1
            await asyncio.sleep(_PAUSE * self._chance.random())
            return _Answer()
        except TimeoutError:
            self.problems.append(f"{what}: no answer within {PATIENCE} s")
            return _Answer()
        self.answers[f"{what} {answer.status}"] += 1
        if answer.status not in allowed:
            self.problems.append(f"{method} {path}: {answer.status} {text[:200]!r}")
        if answer.status == 503:
            await asyncio.sleep(_PAUSE)
        return _Answer(answer.status, text, answer.headers.get("x-rankloop-log") == "pending")
