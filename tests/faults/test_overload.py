"""Far more calls than can be answered, on one of two loops: all are told so, none is lost, the other loop is served."""

import asyncio
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from localhost.azurite import Azurite
from tests.faults.load import HEADERS, PATIENCE, Load, Sent, call, health, read_journal, serving
from tests.integration.served import Served

SECONDS = 12.0
"""That it takes at least; on a machine that is busy, until all have called often enough to say something."""
HANGS = 300.0
"""Seconds after which something hangs."""
HOGS = 600
"""Callers of the flooded loop, each of which calls again as soon as it is answered: far more than there are places."""
GUESTS = 4
"""Callers of the other loop, each with a pause between two calls: a small part of what the machine can do."""
MEMORY = 400


@dataclass
class Flood(threading.Thread):
    """Callers of a loop that never wait for what they are told to."""

    address: str
    callers: int
    pause: float
    sent: list[Sent] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        asyncio.run(self._run())

    def end(self) -> None:
        """End it when all calls under way are answered."""
        self._over.set()
        self.join()

    async def _run(self) -> None:
        timeout, connector = aiohttp.ClientTimeout(total=PATIENCE), aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            await asyncio.gather(*(self._caller(session) for _ in range(self.callers)))

    async def _caller(self, session: aiohttp.ClientSession) -> None:
        actions = [{"id": f"a{n}", "features": [{"n": n}]} for n in range(4)]
        while not self._over.is_set():
            sent = Sent(uuid.uuid4().hex, time.monotonic(), value=1.0)
            sent.status, headers = await self._post(session, "rank", {"eventId": sent.id, "actions": actions})
            sent.pending = headers.get("x-rankloop-log") == "pending"
            if sent.status == 201:
                self.sent.append(sent)
                sent.reward, _ = await self._post(session, f"events/{sent.id}/reward", {"value": sent.value})
            await asyncio.sleep(self.pause)

    async def _post(self, session: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any]:
        url = f"{self.address}/personalizer/v1.0/{path}"
        async with session.post(url, data=orjson.dumps(body), headers=HEADERS) as answer:
            text = await answer.read()
            self.answers[answer.status] += 1
            if answer.status == 503:
                error = orjson.loads(text)["error"]
                if (
                    error["code"] != "OperationNotAllowed"
                    or set(error) != {"code", "message"}
                    or answer.headers["x-ms-error-code"] != error["code"]
                    or int(answer.headers["Retry-After"]) < 1
                ):
                    self.problems.append(f"{path}: {dict(answer.headers)} {text!r}")
            elif answer.status != (201 if path == "rank" else 204):
                self.problems.append(f"{path}: {answer.status} {text!r}")
            return answer.status, answer.headers


def memory(served: Served) -> float:
    """MiB that the app has had in memory at most."""
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def test_a_flood_of_one_loop_is_turned_away_and_nothing_is_lost(
    azurite_on_disk: Azurite, tell: Callable[[str], None]
) -> None:
    with serving(azurite_on_disk.connection_string) as served:
        loop_id = health(served)["loopId"]
        made = served.post("/rankloop/v1/loops", orjson.dumps({"name": "guest"}), HEADERS)
        assert made.status == 201, made.text
        guest_id = call(served, "GET", "/loops/guest/rankloop/v1/health")["loopId"]
        guest = Flood(f"{served.address}/loops/guest", GUESTS, 0.05)
        hog = Flood(served.address, HOGS, 0.0)
        hog.start()
        guest.start()
        answered, began = 0, time.monotonic()
        while (
            time.monotonic() < began + SECONDS
            or hog.answers[503] <= 1000
            or hog.answers[201] <= 100
            or guest.answers.total() < 100
        ):
            assert time.monotonic() < began + HANGS, f"it was not flooded: {hog.answers}, {guest.answers}"
            answered += health(served)["storageAnswers"] is not None
            time.sleep(1)
        hog.end()
        guest.end()

        after = Load(served.address, callers=6)
        after.start()
        after.durable_again(20)
        refused = health(served)["counters"]["calls.turned_away"]
        time.sleep(2)
        after.stop()
        state, most = health(served), memory(served)

    counters = state["counters"]
    tell(
        f"hog {dict(hog.answers)}, guest {dict(guest.answers)}, {most:.0f} MiB, {refused} turned away, "
        f"health answered {answered} times"
    )
    for flood in (hog, guest):
        assert flood.problems == []
        assert set(flood.answers) <= {201, 204, 503}
    assert guest.answers[503] < guest.answers.total() / 10, "the other loop was starved"
    assert guest.answers[201] >= GUESTS
    assert most < MEMORY
    assert answered > 2, "health does not answer"
    assert counters["calls.turned_away"] == refused, "it goes on after the flood"
    assert after.problems == []
    assert {sent.status for sent in after.sent} == {201}
    assert counters.get("http.500", 0) == counters.get("journal.lost", 0) == 0

    for flood, its_id in ((hog, loop_id), (guest, guest_id)):
        ranked, observed = read_journal(azurite_on_disk.connection_string, its_id)
        assert not [sent.id for sent in flood.sent if ranked[sent.id] != 1]
        assert not [sent.id for sent in flood.sent if sent.reward == 204 and observed[sent.id] < 1]
