"""Time and long waits, from call to log: the app over storage in memory, on a clock that is moved by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared.app import App
from shared.config import Config
from shared.log import activity, joined
from shared.loops.loops import DEFAULT
from shared.loops.settings import Loop
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.unit.edge.inmemory import InMemory

T0 = 1_700_000_040.0
DAY = 86_400.0
ACTIONS = [{"id": f"a{n}", "features": [{"x": n}]} for n in range(3)]
SERVICE = "personalizer/v1.1-preview.3/configurations/service"


class Timed:
    """A deployment whose storage keeps the time of a hand, and what its callers do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.served = InMemory(monkeypatch)
        self.served.now = T0

    @property
    def now(self) -> float:
        assert self.served.now is not None
        return self.served.now

    async def rank(self, event_id: str, deferred: bool = False) -> None:
        body = {"actions": ACTIONS, "eventId": event_id, "deferActivation": deferred}
        await self.served.json("POST", "personalizer/v1.0/rank", body)

    async def reward(self, event_id: str, value: float = 1.0) -> None:
        await self.served.json("POST", f"personalizer/v1.0/events/{event_id}/reward", {"value": value})

    async def activate(self, event_id: str) -> None:
        await self.served.json("POST", f"personalizer/v1.0/events/{event_id}/activate")

    async def configure(self, **changed: Any) -> None:
        await self.served.json("PUT", SERVICE, {**await self.served.json("GET", SERVICE), **changed})

    async def until(self, time: float, step: float) -> None:
        """Let time pass, the join timer running at each step."""
        while self.now < T0 + time:
            self.served.now = min(self.now + step, T0 + time)
            await self.served.app.join_due()

    async def events(self) -> dict[str, tuple[float, bool]]:
        """The joined events: their rewards, and whether they are learned."""
        blobs, loop_id = self.served.blobs, (await self.served.app.loops.named(DEFAULT)).id
        found: dict[str, tuple[float, bool]] = {}
        for window in await joined.windows(blobs, loop_id, 0, 2**33):
            for line in map(orjson.loads, await joined.read(blobs, loop_id, window)):
                assert line["EventId"] not in found
                found[line["EventId"]] = (-line["_original_label_cost"], "_skipLearn" not in line)
        return found


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Timed:
    return Timed(monkeypatch)


@pytest.mark.parametrize(("wait", "seconds"), [("P2D", 2 * DAY), ("P60D", 60 * DAY)])
async def test_a_reward_after_most_of_a_long_wait_counts_and_one_after_it_is_kept_beside_the_log(
    timed: Timed, wait: str, seconds: float
) -> None:
    await timed.served.json("PUT", "rankloop/v1/limits", {"longestRewardWait": wait})
    await timed.configure(rewardWaitTime=wait, rewardAggregation="sum")
    await timed.reward("early")
    await timed.until(100, 50)
    for name in ("early", "soon", "last", "late", "never", "on", "off"):
        await timed.rank(name, deferred=name in ("on", "off"))
    await timed.reward("soon")
    await timed.reward("unknown")
    await timed.until(seconds / 2, seconds / 20)
    await timed.activate("on")
    await timed.reward("soon")
    await timed.until(99 + seconds, seconds / 20)
    await timed.reward("last")
    await timed.until(101 + seconds, 2)
    await timed.reward("late")
    assert await timed.events() == {}
    await timed.until(1.2 * seconds + 3600, seconds / 40)

    assert await timed.events() == {
        "early": (1.0, True),
        "soon": (2.0, True),
        "last": (1.0, True),
        "late": (0.0, True),
        "never": (0.0, True),
        "on": (0.0, True),
        "off": (0.0, False),
    }
    await timed.until(2.2 * seconds + 3 * DAY, seconds / 10)  # what was observed last has its turn as well
    assert await activity.noted(timed.served.tables) == {}
    loop_id = (await timed.served.app.loops.named(DEFAULT)).id
    kept = [
        orjson.loads(line)["e"]
        for window in await joined.windows(timed.served.blobs, loop_id, 0, 2**33, joined.OBSERVATIONS)
        for line in await joined.read_whole(timed.served.blobs, loop_id, window, joined.OBSERVATIONS)
    ]
    assert sorted(kept) == ["early", "last", "late", "on", "soon", "soon", "unknown"]


@pytest.mark.parametrize(("first", "then"), [("PT10M", "PT3H"), ("PT3H", "PT10M"), ("P2D", "P1D"), ("PT5M", "P2D")])
async def test_events_keep_the_wait_that_held_when_they_were_ranked(timed: Timed, first: str, then: str) -> None:
    seconds = {"PT5M": 300.0, "PT10M": 600.0, "PT3H": 10_800.0, "P1D": DAY, "P2D": 2 * DAY}
    await timed.configure(rewardWaitTime=first)
    await timed.rank("before")
    await timed.configure(rewardWaitTime=then)
    await timed.until(120, 60)  # a change holds from a minute ahead, where events are pending
    await timed.rank("after")
    waits = sorted((seconds[first], 120 + seconds[then]))
    await timed.until(min(waits) - 1, min(waits) / 10)
    await timed.reward("before")
    await timed.reward("after")
    await timed.until(max(waits) - 1, max(waits) / 20)
    await timed.reward("before", 0.5)
    await timed.reward("after", 0.5)
    await timed.until(max(waits) * 1.2 + 7200, max(waits) / 20)

    # The earliest counts, where it came in time: the first ones for both, if the shorter wait had not begun yet.
    assert await timed.events() == {"before": (1.0, True), "after": (1.0, True)}


async def test_a_join_that_was_off_for_a_day_catches_up(timed: Timed) -> None:
    await timed.configure(rewardWaitTime="PT10M")
    for n in range(240):
        await timed.rank(f"e{n}")
        timed.served.now = timed.now + 360
        if n % 2:
            await timed.reward(f"e{n}")
    timed.served.now = timed.now + 3600

    await timed.served.app.join_due()

    assert await timed.events() == {f"e{n}": (float(n % 2), True) for n in range(240)}


async def test_instances_whose_clocks_are_two_seconds_off_agree() -> None:
    """One ahead, one behind, a third that is right joins: each event once, and each reward by the storage's time."""
    now = [T0]
    tables, blobs = MemoryTables(lambda: now[0]), MemoryBlobs()

    def instance(off: float) -> App:
        app = App(Config("", "k", log_deadline=5.0, reward_deadline=5.0), tables, blobs)
        app.clock.local = lambda: now[0] + off
        return app

    ahead, behind, right = instance(2.0), instance(-2.0), instance(0.0)

    def short(loop: Loop) -> Loop:
        return replace(loop, configuration=replace(loop.configuration, reward_wait_time=5.0))

    loop = await right.loops.change(DEFAULT, short)
    wanted = {}
    for n in range(60):
        one, other = (ahead, behind) if n % 2 else (behind, ahead)
        body = orjson.dumps({"actions": ACTIONS, "eventId": f"e{n}"})
        assert (await one.ranker.rank(loop, body)).durable
        # In time by half a second, or late by half a second, by the storage's clock and so by everybody's.
        delay = 4.5 if n % 4 < 2 else 5.5
        now[0] += delay
        await other.observer.observe(loop.id, loop.waits, f"e{n}", "r", None, 1.0)
        wanted[f"e{n}"] = 1.0 if delay < 5 else 0.0
        await (ahead, behind, right)[n % 3].join_due()
    now[0] += 600
    await right.join_due()

    found = {}
    for window in await joined.windows(blobs, loop.id, 0, 2**33):
        for line in map(orjson.loads, await joined.read(blobs, loop.id, window)):
            assert line["EventId"] not in found
            found[line["EventId"]] = -line["_label_cost"]
    assert found == wanted
    assert right.counters["join.late_rows"] == 0
