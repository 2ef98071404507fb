"""A holdback and an apprenticeship on a real Azurite, over HTTP: who is held back, what is learned, what is told."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from shared.learning import registry
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.joined import DSJSON
from shared.log.subject import HEADER
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.ranking.holdback import held_back
from tests.integration.test_stories import API, World, world

__all__ = ["world"]
HOLDBACK, APPRENTICE = "rankloop/v1/holdback", "rankloop/v1/apprentice"
SLOTS = [{"id": "top", "baselineAction": "a1"}, {"id": "side", "baselineAction": "a3"}]


async def told(world: World, path: str, body: object = None) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(await world.done("GET" if body is None else "PUT", path, body))
    return found


async def lines(world: World) -> dict[str, dict[str, Any]]:
    """The joined log, by event id."""
    loop_id = await world.loop_id()
    watermark = (await checkpoints.load(world.blobs, loop_id))[0].watermark
    found: dict[str, dict[str, Any]] = {}
    for window in await joined.windows(world.blobs, loop_id, 0, watermark, DSJSON):
        for line in await joined.read_whole(world.blobs, loop_id, window, DSJSON):
            entry = orjson.loads(line)
            found[entry["EventId"]] = entry
    return found


async def rank(world: World, event_id: str, subject: str | None, slots: bool) -> str:
    """Rank as a subject, and reward the baseline with 0.25 and anything else with 1; returns what was shown."""
    body = {"eventId": event_id, "actions": [{"id": f"a{n}", "features": [{"topic": f"t{n}"}]} for n in range(5)]}
    if slots:
        body["slots"] = SLOTS
    headers = {} if subject is None else {HEADER: subject}
    area = f"{API}/multislot" if slots else API
    answer = await world.done("POST", f"{area}/rank", body, **headers)
    if event_id.endswith("7"):
        world.answers[event_id] = answer  # to be computed again: a tenth of all, since each takes a while
    decision = orjson.loads(answer)
    shown = str(decision["slots"][0]["rewardActionId"] if slots else decision["rewardActionId"])
    value = 0.25 if shown == ("a1" if slots else "a0") else 1.0
    reward = {"reward": [{"slotId": "top", "value": value}]} if slots else {"value": value}
    await world.done("POST", f"{area}/events/{event_id}/reward", reward)
    return shown


@pytest.mark.parametrize("slots", [False, True], ids=["one slot", "slots"])
async def test_a_share_is_held_back_marked_not_learned_and_compared(world: World, slots: bool) -> None:
    if slots:
        await world.use(DEFAULT_ARGUMENTS[Problem.MULTI_SLOT])
    await world.configure(explorationPercentage=1.0)
    await told(world, HOLDBACK, {"share": 0.4})
    world.now += 6
    shown = {f"e{n}": await rank(world, f"e{n}", None, slots) for n in range(200)}
    shown |= {f"s{n}": await rank(world, f"s{n}", f"person{n % 5}", slots) for n in range(30)}
    await world.app.journal.drain()
    await world.check("pending")
    await world.timers()
    await world.check()

    log, loop_id = await lines(world), await world.loop_id()
    held = {event_id for event_id, line in log.items() if line.get("holdback")}
    assert set(log) == set(shown)
    baseline = "a1" if slots else "a0"
    assert {shown[event_id] for event_id in held} == {baseline}
    assert {shown[event_id] for event_id in set(log) - held} > {baseline}

    free = [event_id for event_id in log if event_id.startswith("e")]
    assert abs(len(held & set(free)) - 0.4 * 200) < 4 * math.sqrt(0.4 * 0.6 * 200)
    assert held & set(free) == {one for one in free if held_back(one, None, loop_id, "Online", 0.4)}
    for person in range(5):
        assert len({f"s{n}" in held for n in range(person, 30, 5)}) == 1, "a person on both sides"

    version, _ = await registry.current(world.blobs, loop_id)
    assert version is not None
    assert (version.learned, version.skipped) == (len(log) - len(held), len(held))
    assert any(held_back(one, None, loop_id, "Online", 0.4) for one in world.answers if one in free)
    event = await world.event(min(held))
    assert (event.ranked.holdback, event.ranked.holdback_share, event.trained_into) == (True, 0.4, None)

    found = await told(world, HOLDBACK)
    rewards = {one: 0.25 if shown[one] == baseline else 1.0 for one in log}
    model = [rewards[one] for one in log if one not in held]
    assert (found["baseline"]["events"], found["baseline"]["averageReward"]) == (len(held), 0.25)
    assert found["model"] == {"events": len(model), "averageReward": pytest.approx(sum(model) / len(model))}
    assert found["lift"]["difference"] == pytest.approx(sum(model) / len(model) - 0.25)
    assert found["says"].startswith("The model earns more" if len(held) >= 100 else "It says nothing yet")

    await world.done("DELETE", f"rankloop/v1/events/{min(held)}")
    await world.timers()
    assert min(held) not in await lines(world)
    assert await told(world, HOLDBACK) == found, "sums name nobody, and stay"


async def test_an_apprentice_is_measured_from_when_it_was_turned_on(world: World) -> None:
    await world.configure(learningMode="Apprentice")
    await told(world, HOLDBACK, {"share": 0.5})
    world.now += 6
    shown = {await rank(world, f"e{n}", None, False) for n in range(60)}
    await world.done("POST", f"{API}/rank", {"eventId": "never", "actions": [{"id": "a", "features": [{"x": 1}]}],
                                             "deferActivation": True})  # fmt: skip
    await world.app.journal.drain()
    await world.timers()

    log = await lines(world)
    imitated = sum(line["_labelIndex"] == 0 for line in log.values() if "_skipLearn" not in line)
    assert shown == {"a0"}
    assert 0 < imitated < 60
    assert not any("holdback" in line for line in log.values())
    found = await told(world, APPRENTICE)
    assert (found["events"], found["imitatedEvents"], found["baselineAverageReward"]) == (60, imitated, 0.25)
    assert found["personalizerAverageReward"] == pytest.approx(0.25 * imitated / 60)
    assert found["latest"]["rewardAchievementRatio"] == pytest.approx(imitated / 60)

    await world.configure(learningMode="Online")
    await world.configure(learningMode="Apprentice")
    world.now += 6
    await rank(world, "again", None, False)
    await world.app.journal.drain()
    await world.timers()
    again = await told(world, APPRENTICE)
    assert (again["events"], again["startTime"] > found["startTime"]) == (1, True)
