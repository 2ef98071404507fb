"""Calls on a holdback and on Apprentice mode, over storage in memory, with what the join would have counted."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from shared.log import checkpoint as checkpoints
from shared.log.apprentice import Apprenticeship, Totals
from shared.log.arms import Arms, Sums
from shared.log.checkpoint import Checkpoint
from shared.loops import settings
from shared.loops.loops import DEFAULT
from shared.loops.settings import Loop
from tests.unit.edge.inmemory import InMemory, refusal

HOLDBACK, APPRENTICE = "rankloop/v1/holdback", "rankloop/v1/apprentice"
SERVICE = "personalizer/configurations/service?api-version=2022-09-01-preview"
NEVER = "0001-01-01T00:00:00"
NOW = 1_700_000_000.25


async def loop_of(served: InMemory) -> Loop:
    found = await served.app.loops.named(DEFAULT)
    return await served.app.loops.by_id(found.id)


async def counted(served: InMemory, **news: Any) -> None:
    """Have the join have counted."""
    loop = await loop_of(served)
    await checkpoints.change(served.app.blobs, loop.id, lambda held: msgspec.structs.replace(held, **news))


async def held(served: InMemory) -> Checkpoint:
    return (await checkpoints.load(served.app.blobs, (await loop_of(served)).id))[0]


async def turn(served: InMemory, mode: str) -> dict[str, Any]:
    """Turn the loop to a mode, by the last version that has no metrics."""
    path = "personalizer/v1.1-preview.3/configurations/service"
    found: dict[str, Any] = await served.json("PUT", path, {**await served.json("GET", path), "learningMode": mode})
    return found


async def service(served: InMemory) -> dict[str, Any]:
    found: dict[str, Any] = await served.json("GET", SERVICE)
    return found


async def test_a_loop_holds_nothing_back_at_first(served: InMemory) -> None:
    nothing = {"events": 0, "averageReward": None}
    found = await served.json("GET", HOLDBACK)

    assert {name: found[name] for name in ("share", "since", "baseline", "model", "says")} == {
        "share": 0.0, "since": NEVER, "baseline": nothing, "model": nothing, "says": "Nothing is held back."
    }  # fmt: skip
    assert found["lift"] == {
        "difference": None, "differenceInterval": None, "ratio": None, "ratioInterval": None, "moreEvents": None
    }  # fmt: skip
    assert (await held(served)).arms is None, "neighbours of an earlier release may join"


async def test_a_share_is_set_and_compared_from_then_on(served: InMemory) -> None:
    served.now = NOW
    put = await served.json("PUT", HOLDBACK, {"share": 0.05})
    assert (put["share"], put["since"]) == (0.05, "2023-11-14T22:13:20.250000Z")
    assert put["says"].startswith("It says nothing yet") and put["lift"]["moreEvents"] == 2000
    assert await served.json("GET", HOLDBACK) == put
    assert (await held(served)).arms == Arms()

    await counted(served, arms=Arms(NOW, Sums(200, 30.0, 30.0), Sums(1900, 500.0, 500.0)))
    found = await served.json("GET", HOLDBACK)
    assert (found["baseline"], found["model"]) == (
        {"events": 200, "averageReward": 0.15}, {"events": 1900, "averageReward": pytest.approx(5 / 19)}
    )  # fmt: skip
    lift = found["lift"]
    assert lift["difference"] == pytest.approx(5 / 19 - 0.15)
    assert lift["differenceInterval"][0] > 0 and lift["ratioInterval"][0] > 1
    assert found["says"].startswith("The model earns more")


async def test_another_share_begins_anew_and_share_zero_keeps_what_was_shown(served: InMemory) -> None:
    served.now = NOW
    await served.json("PUT", HOLDBACK, {"share": 0.05})
    await counted(served, arms=Arms(NOW, Sums(200, 30.0, 30.0), Sums(1900, 500.0, 500.0)))
    served.now = NOW + 60
    same = await served.json("PUT", HOLDBACK, {"share": 0.05})
    assert (same["baseline"]["events"], same["since"]) == (200, "2023-11-14T22:13:20.250000Z")

    other = await served.json("PUT", HOLDBACK, {"share": 0.1})
    assert (other["baseline"]["events"], other["model"]["events"]) == (0, 0)
    off = await served.json("PUT", HOLDBACK, {"share": 0})
    assert (off["share"], off["baseline"]["events"]) == (0.0, 200)
    assert off["says"].startswith("The model earns more")


async def test_in_another_mode_nothing_is_held_back(served: InMemory) -> None:
    await served.json("PUT", HOLDBACK, {"share": 0.05})
    await turn(served, "Apprentice")

    says = (await served.json("GET", HOLDBACK))["says"]
    assert says == "Nothing is held back in Apprentice mode, which answers the baseline to all."


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"share": 0.51}, "InvalidRequest"),
        ({"share": -1}, "InvalidRequest"),
        ({"share": "0.1"}, "BadRequest"),
        ({}, "BadRequest"),
        (b"", "BadRequest"),
    ],
)
async def test_another_share_is_refused_and_changes_nothing(served: InMemory, body: Any, code: str) -> None:
    assert await refusal(served("PUT", HOLDBACK, body)) == (400, code)
    assert (await held(served)).arms is None
    assert (await loop_of(served)).holdback.share == 0.0


async def test_apprentice_metrics_are_there_once_the_mode_was_on(served: InMemory) -> None:
    assert "latestApprenticeModeMetrics" not in await service(served)
    assert await refusal(served("GET", APPRENTICE)) == (400, "ApprenticeModeNeverTurnedOn")
    served.now = NOW
    assert "latestApprenticeModeMetrics" not in await turn(served, "Apprentice"), "2022 alone has it"

    nothing = {"numberOfEvents": 0, "numberOfImitatedEvents": 0, "sumOfRewards": 0.0, "sumOfImitatedRewards": 0.0}
    since = "2023-11-14T22:13:20.250000Z"
    assert (await service(served))["latestApprenticeModeMetrics"] == {
        **nothing, "startTime": since, "lastProcessedEventTime": NEVER, "lastBatchMetrics": nothing
    }  # fmt: skip
    told = await served.json("GET", APPRENTICE)
    assert (told["baselineAverageReward"], told["personalizerAverageReward"]) == (None, None)
    assert told["says"] == "Wait: 0 of the 1000 events that it is judged by are joined."


async def test_what_was_counted_is_told_until_the_mode_is_on_again(served: InMemory) -> None:
    served.now = NOW
    await turn(served, "Apprentice")
    await counted(served, apprentice=Apprenticeship(NOW, NOW + 9, Totals(4, 3, 2.0, 1.5), b""))
    shown = (await service(served))["latestApprenticeModeMetrics"]
    assert (shown["numberOfEvents"], shown["sumOfImitatedRewards"]) == (4, 1.5)
    assert shown["lastProcessedEventTime"] == "2023-11-14T22:13:29.250000Z"
    told = await served.json("GET", APPRENTICE)
    assert (told["baselineAverageReward"], told["personalizerAverageReward"]) == (0.5, 0.375)
    assert told["latest"] == {"events": 0, "imitatedEvents": 0, "rewardAchievementRatio": None}

    served.now = NOW + 60
    await turn(served, "Online")
    assert (await service(served))["latestApprenticeModeMetrics"] == shown
    await turn(served, "Apprentice")
    again = (await service(served))["latestApprenticeModeMetrics"]
    assert (again["numberOfEvents"], again["startTime"]) == (0, "2023-11-14T22:14:20.250000Z")


async def test_the_metrics_are_read_only(served: InMemory) -> None:
    await turn(served, "Apprentice")
    await counted(served, apprentice=Apprenticeship(NOW, NOW + 9, Totals(4, 3, 2.0, 1.5), b""))
    shown = await service(served)
    changed = {**shown, "latestApprenticeModeMetrics": {**shown["latestApprenticeModeMetrics"], "numberOfEvents": 99}}

    assert await served.json("PUT", SERVICE, changed) == shown


async def test_a_loop_that_an_earlier_release_has_turned_is_told_of_too(served: InMemory) -> None:
    """Which did not write down when that was: it begins with the first event that is counted."""
    await turn(served, "Apprentice")
    name = settings.path((await loop_of(served)).id)
    blob = await served.app.blobs.get(name)
    assert blob is not None
    former = {member: value for member, value in orjson.loads(blob.data).items() if member != "apprentice"}
    await served.app.blobs.put(name, orjson.dumps(former), blob.etag)
    await served.app.loops.settle(await loop_of(served))
    await served.app.loops.ids()  # which looks, however new what this instance has seen
    assert (await service(served))["latestApprenticeModeMetrics"]["startTime"] == NEVER

    await counted(served, apprentice=Apprenticeship(NOW, NOW + 9, Totals(4, 3, 2.0, 1.5), b""))
    await turn(served, "Online")
    shown = (await service(served))["latestApprenticeModeMetrics"]
    assert (shown["startTime"], shown["numberOfEvents"]) == ("2023-11-14T22:13:20.250000Z", 4)
