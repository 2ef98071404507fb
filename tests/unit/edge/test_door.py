"""Which calls take which places, whether the host asks for them or the call itself, and what those without are told."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import azure.functions as func
import orjson
import pytest

from shared.access.admission import BUSY, LATE, Places
from shared.app import App
from shared.edge import door, web
from shared.edge.calls import Reply
from shared.edge.door import enter
from shared.edge.routes import Found
from tests.unit.edge.inmemory import KEY, InMemory, error

RANK = {"actions": [{"id": "a", "features": [{"x": 1}]}, {"id": "b", "features": [{"x": 2}]}]}


class Taken:
    """Places that are never refused unless told so, and tell whose calls took them."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.calls: list[tuple[str, int]] = []
        self.full = False

    def take(self, loop: str, size: int) -> bool:
        self.calls.append((loop, size))
        return not self.full and self.places.take(loop, size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.places, name)


@pytest.fixture
def events(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> Taken:
    """The places of ranks, rewards and activations."""
    taken = Taken(served.app.admission.events)
    monkeypatch.setattr(served.app.admission, "events", taken)
    return taken


@pytest.fixture
def others(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> Taken:
    """The places of all other calls."""
    taken = Taken(served.app.admission.others)
    monkeypatch.setattr(served.app.admission, "others", taken)
    return taken


@pytest.mark.parametrize(
    ("path", "is_event"),
    [
        ("personalizer/v1.0/rank", True),
        ("Personalizer/V1.0/Rank/", True),
        ("personalizer/rank", True),
        ("personalizer/v1.1-preview.1/multislot/rank", True),
        ("personalizer/v1.0/events/e1/reward", True),
        ("personalizer/v1.0/events/a/b/c/activate", True),
        ("personalizer/multislot/events/e/reward", True),
        ("loops/news/personalizer/v1.0/rank", True),
        ("rankloop/v1/health", False),
        ("loops/news/rankloop/v1/health", False),
        ("personalizer/v1.0/model", False),
        ("personalizer/v1.0/evaluations/frank", False),
        ("openapi.json", False),
        ("loops", False),
        ("", False),
    ],
)
async def test_events_and_other_calls_have_places_of_their_own(
    served: InMemory, events: Taken, others: Taken, path: str, is_event: bool
) -> None:
    leave = enter(served.app, path, 7)

    assert leave is not None
    assert (len(events.calls), len(others.calls)) == ((1, 0) if is_event else (0, 1))
    assert served.app.admission.idle is False
    leave()
    assert served.app.admission.idle is True


async def test_a_body_that_is_only_announced_shuts_nobody_out(served: InMemory) -> None:
    announced = enter(served.app, "loops/made-up/personalizer/v1.0/rank", 90_000_000)

    assert announced is not None
    leave = enter(served.app, "personalizer/v1.0/rank", 1000)
    assert leave is not None
    announced()
    leave()
    assert served.app.admission.idle is True


async def test_loops_are_told_apart_once_they_are_known(served: InMemory, events: Taken) -> None:
    key, _ = await served.make_loop("news")
    for _ in range(2):
        await served("POST", "personalizer/v1.0/rank", RANK)
        await served("POST", "loops/news/personalizer/v1.0/rank", RANK, ocp_apim_subscription_key=key)
        await served("POST", "loops/made-up/personalizer/v1.0/rank", RANK)

    assert [loop for loop, _ in events.calls] == ["default", "", "", "default", "news", ""]
    assert {size for _, size in events.calls} == {len(orjson.dumps(RANK))}
    assert events.places.taken == 0


@pytest.mark.parametrize("path", ["personalizer/v1.0/rank", "personalizer/v1.0/events/e/reward"])
async def test_a_call_without_a_place_is_told_to_come_back(served: InMemory, events: Taken, path: str) -> None:
    events.full = True

    # Nothing of it is looked at: neither its key nor what it says.
    response = await served("POST", path, b"{", ocp_apim_subscription_key="wrong")

    assert (response.status_code, error(response)["code"]) == (503, "OperationNotAllowed")
    assert response.headers["Retry-After"] == "1"
    counted = served.app.counters
    assert (counted["calls.turned_away"], counted["http.503"], counted["refused.OperationNotAllowed"]) == (1, 1, 1)
    assert (await served("GET", "rankloop/v1/health")).status_code == 200


async def test_a_call_gives_its_place_back_whatever_becomes_of_it(
    served: InMemory, events: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    async def call(app: App, req: func.HttpRequest, found: Found) -> Reply:
        held.append(events.places.taken)
        if len(held) == 2:
            raise asyncio.CancelledError
        if len(held) == 3:
            raise ZeroDivisionError
        return Reply(204)

    monkeypatch.setattr(web, "_call", call)
    await served("POST", "personalizer/v1.0/rank")
    with pytest.raises(asyncio.CancelledError):
        await served("POST", "personalizer/v1.0/rank")
    await served("POST", "personalizer/v1.0/rank")

    assert held == [1, 1, 1]
    assert events.places.taken == 0


# -- hosts that ask ---------------------------------------------------------------------------------------------------


async def test_a_host_that_asks_is_asked_no_more(served: InMemory, events: Taken) -> None:
    leave = web.admit("personalizer/v1.0/rank", 5)
    assert callable(leave)
    assert (await served("POST", "personalizer/v1.0/rank", RANK)).status_code == 201

    assert [size for _, size in events.calls] == [5]
    assert events.places.taken == 1
    leave()
    assert events.places.taken == 0


async def test_a_body_of_unknown_size_counts_as_the_largest(served: InMemory, events: Taken) -> None:
    web.admit("personalizer/v1.0/rank", None)

    assert [size for _, size in events.calls] == [served.app.config.max_body]


async def test_a_host_is_given_the_same_answer_for_all(served: InMemory, events: Taken) -> None:
    events.full = True
    asked = web.admit("personalizer/v1.0/rank", 0)
    assert web.admit("personalizer/v1.0/events/e/reward", 0) is asked

    assert isinstance(asked, func.HttpResponse)
    served.app.admission.asked_outside = False
    itself = await served("POST", "personalizer/v1.0/rank", ocp_apim_subscription_key=KEY)
    assert (asked.status_code, asked.get_body(), dict(asked.headers)) == (
        itself.status_code,
        itself.get_body(),
        dict(itself.headers),
    )
    assert served.app.counters["calls.turned_away"] == served.app.counters["http.503"] == 3


# -- lateness ---------------------------------------------------------------------------------------------------------


Readings = asyncio.Queue[tuple[float, float]]
"""How late and how busy the event loop was, each time that somebody looked."""


@pytest.fixture
def readings(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> Readings:
    found: Readings = asyncio.Queue()
    monkeypatch.setattr(served.app.admission, "adapt", lambda *read: found.put_nowait(read))
    monkeypatch.setattr(door, "PERIOD", 0.001)
    return found


def watched(app: App) -> bool:
    return app.admission.watched


async def test_lateness_is_read_while_there_are_calls(served: InMemory, readings: Readings) -> None:
    first = enter(served.app, "personalizer/v1.0/rank", 0)
    second = enter(served.app, "rankloop/v1/health", 0)
    assert first is not None
    assert second is not None
    for _ in range(3):
        await readings.get()
    first()
    await readings.get()
    assert watched(served.app)
    second()
    await readings.get()
    assert not watched(served.app), "nobody reads it for ever"

    third = enter(served.app, "personalizer/v1.0/rank", 0)
    assert third is not None
    await readings.get()
    third()


async def test_an_event_loop_that_is_held_up_is_seen_to_be_late(served: InMemory, readings: Readings) -> None:
    leave = enter(served.app, "personalizer/v1.0/rank", 0)
    assert leave is not None
    await readings.get()
    time.sleep(2 * LATE)  # noqa: ASYNC251 - that is what holds it up
    late, busy = await readings.get()
    leave()

    assert late > LATE
    assert busy < BUSY, "it has slept"


async def test_an_event_loop_that_computes_is_seen_to_be_busy(
    served: InMemory, readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = enter(served.app, "personalizer/v1.0/rank", 0)
    assert leave is not None
    await readings.get()
    used = time.thread_time()
    # As if the thread had had all of the time that it was held up, which a busy machine cannot promise.
    monkeypatch.setattr(time, "thread_time", lambda: used + 100.0)
    time.sleep(2 * LATE)  # noqa: ASYNC251 - that is what holds it up
    _, busy = await readings.get()
    leave()

    assert busy > BUSY
