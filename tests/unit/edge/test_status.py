"""The status of a deployment: all loops at once, for its owner, and what there is of it where storage is in trouble."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from shared.edge import status
from shared.health import examined, tally
from shared.health.examined import Examined, Standing
from shared.learning import pointer
from shared.learning.pointer import Course, Pointer
from shared.learning.registry import Version
from shared.log import activity
from shared.log import checkpoint as checkpoints
from shared.log.activity import Span
from shared.log.checkpoint import Checkpoint
from shared.loops import settings
from shared.loops.loops import DEFAULT
from shared.storage import Blob, Unavailable
from tests.unit.edge.inmemory import InMemory, refusal
from tests.unit.health import planted

PATH = "rankloop/v1/status"
NOW = 1_700_000_000
RANK = {"actions": [{"id": "a", "features": [{"x": 1}]}], "eventId": "e1"}


def version(trained: int, created: float, name: str = "v1") -> Version:
    return Version(name, "x", "", trained, 7, 0.25, created, created)


async def test_it_tells_how_every_loop_is_and_what_the_instance_holds(served: InMemory) -> None:
    served.now = float(NOW)
    await served.make_loop("news")
    await served("POST", "personalizer/v1.0/rank", RANK)
    loop = await served.app.loops.named(DEFAULT)
    await activity.note_rows(served.tables, Span(NOW - 3600, NOW - 3540, 0, loop.id, 0.0))
    await checkpoints.save(served.blobs, loop.id, Checkpoint(watermark=NOW - 3600, events=9), None)
    await pointer.move(served.blobs, loop.id, Pointer(version(NOW - 7200, NOW - 5000.0)), None)
    lines = planted.lines(600, change=lambda line, rng, n: line["c"]["FromUrl"].append({"session": f"s{n}"}))
    held = Examined(standing=Standing(NOW - 7200, NOW - 1000.0)).with_window(tally.of_lines(lines, 600, 0, 5))
    await examined.save(served.blobs, loop.id, held, None)

    told = await served.json("GET", PATH)

    assert (told["time"], told["storageAnswers"]) == (NOW, True)
    assert [one["name"] for one in told["loops"]] == [DEFAULT, "news"]
    default, news = told["loops"]
    # The first bucket could be joined after wait, grace and the 65 s that a window spans at least.
    assert default["joinLag"] == 3600 - (5 + 600 + 5 + 90) - 70
    assert (default["joinedEvents"], default["joinedThrough"]) == (9, NOW - 3600)
    assert (default["modelVersion"], default["modelAge"], default["modelPinned"]) == ("v1", 5000, False)
    assert default["modelLate"] == 1000  # since the news was seen, which is later than the next version was due
    assert default["findings"] == {"warning": 1}
    assert news == {
        "name": "news", "id": (await served.app.loops.named("news")).id, "joinLag": 0, "joinedEvents": 0,
        "joinedThrough": 0, "modelLate": 0, "modelPinned": False, "findings": {},
    }  # fmt: skip
    assert (told["instance"]["waitingBytes"], told["instance"]["callsUnderWay"]) == (0, 1)
    assert told["instance"]["counters"]["http.201"] == 2


async def test_a_model_that_knows_all_or_whose_news_nobody_has_seen_is_not_late(served: InMemory) -> None:
    served.now = float(NOW)
    loop = await served.app.loops.named(DEFAULT)
    await checkpoints.save(served.blobs, loop.id, Checkpoint(watermark=NOW - 60), None)
    await pointer.move(served.blobs, loop.id, Pointer(version(NOW - 7200, 0.0)), None)
    unseen = (await served.json("GET", PATH))["loops"][0]
    _, etag = await pointer.read(served.blobs, loop.id)
    await pointer.move(served.blobs, loop.id, Pointer(version(NOW - 60, 0.0)), etag)
    learned = (await served.json("GET", PATH))["loops"][0]

    assert (unseen["modelLate"], learned["modelLate"]) == (0, 0)


async def test_a_pinned_model_that_learning_goes_on_behind_is_not_stale(served: InMemory) -> None:
    served.now = float(NOW)
    loop = await served.app.loops.named(DEFAULT)
    await checkpoints.save(served.blobs, loop.id, Checkpoint(watermark=NOW - 3600, events=9), None)
    course = Course(pinned=True, head=version(NOW - 4000, NOW - 3000.0, "v2"))
    await pointer.move(served.blobs, loop.id, Pointer(version(NOW - 9000, NOW - 8000.0), course), None)

    async def told(standing: Standing) -> tuple[float, dict[str, int]]:
        _, etag = await examined.load(served.blobs, loop.id)
        await examined.save(served.blobs, loop.id, Examined(standing=standing), etag)
        (found,) = (await served.json("GET", PATH))["loops"]
        return found["modelLate"], found["findings"]

    assert await told(Standing(NOW - 9000, NOW - 8500.0)) == (0, {}), "seen before the head was made"
    late, found = await told(Standing(NOW - 4000, NOW - 2000.0))
    assert (late, found) == (2000, {"error": 1})


async def test_nothing_is_told_that_was_found_before_an_erasure(served: InMemory) -> None:
    loop = await served.app.loops.named(DEFAULT)
    lines = planted.lines(600, change=lambda line, rng, n: line["c"]["FromUrl"].append({"session": f"s{n}"}))
    await examined.save(served.blobs, loop.id, Examined().with_window(tally.of_lines(lines, 600, 0, 5)), None)
    await checkpoints.save(served.blobs, loop.id, Checkpoint(generation=1), None)

    assert (await served.json("GET", PATH))["loops"][0]["findings"] == {}


async def test_a_deleted_model_is_none(served: InMemory) -> None:
    loop = await served.app.loops.named(DEFAULT)
    blank = msgspec.structs.replace(version(5, 0.0), blank=True)
    await pointer.move(served.blobs, loop.id, Pointer(blank), None)

    assert not {"modelVersion", "modelAge"} & set((await served.json("GET", PATH))["loops"][0])


async def test_it_is_for_the_owner_alone(served: InMemory) -> None:
    key, _ = await served.make_loop("news")

    assert await refusal(served("GET", f"loops/news/{PATH}", ocp_apim_subscription_key=key)) == (403, "Forbidden")


async def test_one_loop_that_cannot_be_read_keeps_no_other_from_being_told(served: InMemory) -> None:
    await served.make_loop("news")
    loop = await served.app.loops.named("news")
    held = await served.blobs.get(settings.path(loop.id))
    assert held
    await served.blobs.put(settings.path(loop.id), b'{"format":999}', held.etag)

    told = await served.json("GET", PATH)

    assert told["storageAnswers"] is False
    assert told["loops"][0]["joinedEvents"] == 0
    assert told["loops"][1] == {"name": "news", "id": loop.id}


@pytest.mark.parametrize("hangs", [False, True])
async def test_it_answers_when_storage_does_not(served: InMemory, monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    await served.app.loops.named(DEFAULT)

    async def down(path: str, etag: str | None) -> Blob | None:
        if hangs:
            await asyncio.Event().wait()
        raise Unavailable("down")

    monkeypatch.setattr(served.blobs, "get_changed", down)
    monkeypatch.setattr(status, "_PATIENCE", 0.01)
    told = await served.json("GET", PATH)

    assert (told["storageAnswers"], told["loops"]) == (False, [])
    assert told["instance"]["callsUnderWay"] == 1


async def test_only_so_many_loops_are_looked_at_at_a_time(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        await served.make_loop(f"l{n}")
    monkeypatch.setattr(status, "_AT_ONCE", 2)
    under_way, most = 0, 0
    really = served.app.loops.by_id

    async def by_id(loop_id: str) -> settings.Loop:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return await really(loop_id)

    monkeypatch.setattr(served.app.loops, "by_id", by_id)
    told = await served.json("GET", PATH)

    assert (len(told["loops"]), most) == (6, 2)
