"""Health calls: how far a loop's log and model are, and that it answers when storage does not."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from shared.edge import health
from shared.health import examined, tally
from shared.health.examined import Examined, Standing
from shared.learning import pointer
from shared.learning.pointer import Course, Pointer
from shared.learning.registry import Version
from shared.log import checkpoint as checkpoints
from shared.log import hours
from shared.log.checkpoint import Checkpoint
from shared.loops.loops import DEFAULT
from shared.storage import Blob, Unavailable
from tests.unit.edge.inmemory import InMemory
from tests.unit.health import planted

RANK = {"actions": [{"id": "a", "features": [{"x": 1}]}], "eventId": "e1"}
PATH = "rankloop/v1/health"


async def test_health_tells_how_far_everything_is(served: InMemory) -> None:
    served.now = 1_700_000_040.0
    await served("POST", "personalizer/v1.0/rank", RANK)
    loop = await served.app.loops.named(DEFAULT)
    fresh = await served.json("GET", PATH)
    await pointer.move(served.blobs, loop.id, Pointer(Version("v1", "", "", 55, 7, 0.25, 0.0, 0.0)), None)
    checkpoint = Checkpoint(watermark=60, events=9, rewarded=5, retries=1, inactive=2, empty_slots=3)
    await checkpoints.save(served.blobs, loop.id, checkpoint, None)
    written = msgspec.json.encode(hours.Progress(through=3600, late=4, unknown=6))
    await served.blobs.put(hours.progress_path(loop.id), written)
    trained = await served.json("GET", PATH)

    assert (fresh["time"], fresh["loopId"]) == (1_700_000_040.0, loop.id)
    assert fresh["learningMode"] == "Online"
    assert fresh["rewardWaits"] == [{"from": 0, "seconds": 600.0}]
    assert (fresh["modelVersion"], fresh["modelEvents"], fresh["modelReward"], fresh["trainedThrough"]) == (
        None,
        0,
        None,
        0,
    )
    assert (fresh["joinedEvents"], fresh["joinedThrough"], fresh["waitingBytes"]) == (0, 0, 0)
    assert fresh["storageAnswers"] is True
    assert fresh["counters"]["http.201"] == 1
    assert (trained["modelVersion"], trained["modelEvents"], trained["modelReward"]) == ("v1", 7, 0.25)
    assert (trained["trainedThrough"], trained["joinedThrough"], trained["joinedEvents"]) == (55, 60, 9)
    assert (trained["rewardedEvents"], trained["repeatedEvents"]) == (5, 1)
    assert (trained["inactiveEvents"], trained["emptySlots"]) == (2, 3)
    assert (fresh["hoursThrough"], fresh["lateRewards"], fresh["unknownRewards"]) == (0, 0, 0)
    assert (trained["hoursThrough"], trained["lateRewards"], trained["unknownRewards"]) == (3600, 4, 6)


async def test_health_tells_what_was_found_and_what_it_rests_on(served: InMemory) -> None:
    served.now = 1_700_000_040.0
    loop = await served.app.loops.named(DEFAULT)
    fresh = await served.json("GET", PATH)
    lines = planted.lines(600, change=lambda line, rng, n: line["c"]["FromUrl"].append({"session": f"s{n}"}))
    held = Examined(standing=Standing(trained_through=0, since=1_699_990_000.0))
    held = held.with_window(tally.of_lines([*lines, b"no line"], 601, 1_700_000_000, 1_700_000_005))
    await examined.save(served.blobs, loop.id, held, None)
    told = await served.json("GET", PATH)
    await pointer.move(served.blobs, loop.id, Pointer(Version("v1", "", "", 55, 7, 0.25, 0.0, 0.0)), None)
    trained = await served.json("GET", PATH)

    _, etag = await pointer.read(served.blobs, loop.id)
    behind = Version("v0", "", "", 0, 7, 0.25, 0.0, 0.0)
    head = Version("v1", "", "", 55, 7, 0.25, 0.0, 0.0)
    await pointer.move(served.blobs, loop.id, Pointer(behind, Course(pinned=True, head=head)), etag)
    pinned = await served.json("GET", PATH)

    assert fresh["examined"] == {"from": 0, "through": 0, "events": 0, "of": 0}
    assert fresh["findings"] == []
    assert told["examined"] == {"from": 1_700_000_000, "through": 1_700_000_005, "events": 600, "of": 601}
    assert [(one["code"], one["severity"]) for one in told["findings"]] == [
        ("modelStale", "error"),
        ("valuesAreIds", "warning"),
    ]
    assert "'context.session'" in told["findings"][1]["what"]
    assert told["findings"][1]["numbers"]["values"] == 600
    assert told["findings"][1]["todo"].startswith("Leave the feature out")
    assert [one["code"] for one in trained["findings"]] == ["valuesAreIds"]
    assert pinned["findings"] == trained["findings"], "learning goes on behind what is pinned"


async def test_nothing_is_told_that_was_found_before_an_erasure(served: InMemory) -> None:
    loop = await served.app.loops.named(DEFAULT)
    lines = planted.lines(600, change=lambda line, rng, n: line["c"]["FromUrl"].append({"session": f"s{n}"}))
    await examined.save(served.blobs, loop.id, Examined().with_window(tally.of_lines(lines, 600, 0, 5)), None)
    before = await served.json("GET", PATH)
    await checkpoints.save(served.blobs, loop.id, Checkpoint(watermark=60, generation=1), None)
    after = await served.json("GET", PATH)

    assert (before["examined"]["events"], len(before["findings"])) == (600, 1)
    assert (after["examined"]["events"], after["findings"]) == (0, [])


async def test_what_was_examined_goes_with_an_erasure(served: InMemory) -> None:
    served.now = 1_700_000_040.0
    await served("POST", "personalizer/v1.0/rank", RANK)
    loop = await served.app.loops.named(DEFAULT)
    held = Examined().with_window(tally.of_lines(planted.lines(5), 5, 0, 5))
    await examined.save(served.blobs, loop.id, held, None)

    assert (await served("DELETE", "rankloop/v1/events/e1")).status_code == 202
    served.now += 300.0
    await served.app.train_due()

    left, _ = await examined.load(served.blobs, loop.id)
    assert (left.generation, left.whole.events) == (1, 0)


async def test_a_loop_tells_of_itself_alone(served: InMemory) -> None:
    await served.make_loop("news")
    default, news = [(await served.app.loops.named(name)).id for name in (DEFAULT, "news")]
    await pointer.move(served.blobs, default, Pointer(Version("v1", "", "", 55, 7, 0.25, 0.0, 0.0)), None)
    await checkpoints.save(served.blobs, default, Checkpoint(watermark=60, events=9), None)

    told = await served.json("GET", f"loops/news/{PATH}")

    assert (told["loopId"], told["modelVersion"], told["joinedEvents"]) == (news, None, 0)
    assert {"counters", "waitingBytes"} <= set(told)


async def test_what_all_loops_make_an_instance_count_is_told_to_the_owner_alone(served: InMemory) -> None:
    key, _ = await served.make_loop("news")

    told = await served.json("GET", f"loops/news/{PATH}", ocp_apim_subscription_key=key)

    assert told["storageAnswers"] is True
    assert not {"counters", "waitingBytes"} & set(told)


@pytest.mark.parametrize("hangs", [False, True])
async def test_health_answers_when_storage_does_not(
    served: InMemory, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    await served("POST", "personalizer/v1.0/rank", RANK)

    async def down(path: str) -> Blob | None:
        if hangs:
            await asyncio.Event().wait()
        raise Unavailable("down")

    monkeypatch.setattr(served.blobs, "get", down)
    monkeypatch.setattr(health, "_PATIENCE", 0.01)
    told = await served.json("GET", PATH)

    assert (told["storageAnswers"], told["joinedThrough"], told["modelVersion"]) == (False, None, None)
    assert (told["joinedEvents"], told["modelEvents"], told["trainedThrough"]) == (None, None, None)
    assert (told["hoursThrough"], told["lateRewards"], told["unknownRewards"]) == (None, None, None)
    assert (told["examined"], told["findings"]) == (None, None)
    assert told["counters"]["http.201"] == 1


async def test_health_holds_nothing_secret(served: InMemory) -> None:
    for name in ("news", "sports"):
        await served.make_loop(name)

    told = msgspec.json.encode(await served.json("GET", f"loops/news/{PATH}")).decode()

    loop = await served.app.loops.named("sports")
    assert loop.id not in told
    assert not any(key.hex() in told for key in loop.keys)
