"""Joins and trainings that a call asks for: what the timers would have done, once, and the wait for it bounded."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from shared.edge import runs
from shared.health import examined
from shared.learning import registry
from shared.log import activity, joined
from shared.log import checkpoint as checkpoints
from shared.loops.loops import DEFAULT
from shared.storage import Unavailable
from tests.unit.edge.inmemory import InMemory, refusal

T0 = 1_700_000_040.0
OWN = "rankloop/v1"
RANK = {"actions": [{"id": f"a{n}", "features": [{"x": n}]} for n in range(3)]}


def seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


@pytest.fixture
async def ranked(served: InMemory) -> InMemory:
    """An app whose loop has an event with a reward, of ten minutes' wait."""
    served.now = T0
    await served.json("POST", "personalizer/v1.0/rank", {**RANK, "eventId": "e"})
    await served.json("POST", "personalizer/v1.0/events/e/reward", {"value": 1})
    return served


async def test_a_loop_without_events_is_done_and_says_no_more(served: InMemory) -> None:
    assert await served.json("POST", f"{OWN}/join") == {"done": True}
    assert await served.json("POST", f"{OWN}/train") == {"done": True}


async def test_a_join_says_when_what_is_pending_is_due_and_does_it_then(ranked: InMemory) -> None:
    told = await ranked.json("POST", f"{OWN}/join")

    assert (told["done"], "joinedThrough" in told) == (True, False)
    assert T0 - 60 < seconds(told["pendingSince"]) <= T0
    assert T0 + 600 < seconds(told["dueAt"]) < T0 + 800

    ranked.now = seconds(told["dueAt"]) + 120
    told = await ranked.json("POST", f"{OWN}/join")

    assert (told["done"], seconds(told["joinedThrough"]) > T0) == (True, True)
    loop = await ranked.app.loops.named(DEFAULT)
    (window,) = await joined.windows(ranked.blobs, loop.id, 0, 2**33)
    assert len(await joined.read(ranked.blobs, loop.id, window)) == 1
    assert await ranked.json("POST", f"{OWN}/join") == {"done": True, "joinedThrough": told["joinedThrough"]}
    assert await joined.windows(ranked.blobs, loop.id, 0, 2**33) == [window]


async def test_a_training_makes_the_version_that_the_timer_would_have(ranked: InMemory) -> None:
    ranked.now = T0 + 1200
    await ranked.json("POST", f"{OWN}/join")

    told = await ranked.json("POST", f"{OWN}/train")

    loop = await ranked.app.loops.named(DEFAULT)
    version, _ = await registry.current(ranked.blobs, loop.id)
    assert version is not None
    assert (told["done"], told["modelVersion"], version.events) == (True, version.version, 1)
    assert told["learnedThrough"] == told["joinedThrough"]
    assert "dueAt" not in told
    assert await ranked.json("POST", f"{OWN}/train") == told


async def test_a_training_does_not_run_ahead_of_the_export_frequency(ranked: InMemory) -> None:
    ranked.now = T0 + 1200
    await ranked.json("POST", f"{OWN}/join")
    first = await ranked.json("POST", f"{OWN}/train")
    await ranked.json("POST", "personalizer/v1.0/rank", {**RANK, "eventId": "f"})
    ranked.now += 1200
    await ranked.app.join_due()
    ranked.now -= 1190  # in the slot of the first version still

    told = await ranked.json("POST", f"{OWN}/train")

    assert (told["done"], told["modelVersion"]) == (True, first["modelVersion"])
    assert told["learnedThrough"] < told["joinedThrough"]
    assert seconds(told["dueAt"]) <= ranked.now + 60


@pytest.mark.parametrize("what", ["join", "train"])
async def test_only_who_may_manage_the_loop_runs_it(served: InMemory, what: str) -> None:
    key, _ = await served.make_loop("news")

    assert await refusal(served("POST", f"{OWN}/{what}", ocp_apim_subscription_key=key)) == (401, "Unauthorized")
    assert (await served("POST", f"loops/news/{OWN}/{what}", ocp_apim_subscription_key=key)).status_code == 200
    assert await refusal(served("GET", f"{OWN}/{what}")) == (404, "ResourceNotFound")


async def test_what_takes_long_is_answered_goes_on_and_is_not_begun_twice(
    ranked: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked.now = T0 + 1200
    monkeypatch.setattr(runs, "PATIENCE", 0.01)
    going, begun = asyncio.Event(), 0
    run = ranked.app.joiner.run

    async def slow(*args: object) -> int:
        nonlocal begun
        begun += 1
        await going.wait()
        return await run(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(ranked.app.joiner, "run", slow)
    for _ in range(2):
        told = await ranked.json("POST", f"{OWN}/join")
        assert (told["done"], "joinedThrough" in told) == (False, False)
    going.set()
    monkeypatch.setattr(runs, "PATIENCE", 60.0)

    told = await ranked.json("POST", f"{OWN}/join")

    assert (told["done"], begun, seconds(told["joinedThrough"]) > T0) == (True, 1, True)


async def test_one_that_fails_is_counted_and_answered_503(ranked: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> int:
        raise Unavailable("account secret-name does not answer")

    monkeypatch.setattr(ranked.app.joiner, "run", fail)

    assert await refusal(ranked("POST", f"{OWN}/join")) == (503, "OperationNotAllowed")
    assert ranked.app.counters["join.failed"] == 1


async def test_the_timer_goes_on_with_what_a_call_has_left(ranked: InMemory) -> None:
    ranked.now = T0 + 1200
    await ranked.json("POST", f"{OWN}/join")
    await activity.trained(ranked.tables, (await activity.untrained(ranked.tables))[0])

    await ranked.json("POST", f"{OWN}/train")

    loop = await ranked.app.loops.named(DEFAULT)
    assert (await checkpoints.load(ranked.blobs, loop.id))[0].events == 1
    assert (await registry.current(ranked.blobs, loop.id))[0] is not None
    assert (await examined.load(ranked.blobs, loop.id))[0].whole.events == 0
    ranked.now += 60
    await ranked.app.train_due()
    assert (await examined.load(ranked.blobs, loop.id))[0].whole.events == 1
    assert await activity.untrained(ranked.tables) == []
