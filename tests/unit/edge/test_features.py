"""Calls for a loop's features: how often they come, how much they vary, and what was found of them."""

from __future__ import annotations

from shared.health import examined, tally
from shared.health.examined import Examined
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.loops.loops import DEFAULT
from tests.unit.edge.inmemory import InMemory
from tests.unit.health import planted
from tests.unit.health.planted import ACTIONS

PATH = "rankloop/v1/features"


async def _examined(served: InMemory, events: int) -> None:
    def change(line: planted.Line, rng: object, n: int) -> None:
        line["c"]["FromUrl"].append({"session": f"s{n}", "channel": "web", "sum": 2e6 * (n % 2)} if n else {})

    loop = await served.app.loops.named(DEFAULT)
    lines = planted.lines(events, change=change)
    await examined.save(served.blobs, loop.id, Examined().with_window(tally.of_lines(lines, events, 0, 5)), None)


async def test_features_are_told_with_how_much_they_vary(served: InMemory) -> None:
    await _examined(served, 601)

    told = await served.json("GET", PATH)

    features = {one["path"]: one for one in told["features"]}
    assert told["events"] == 601
    session = features["context.session"]
    assert (session["seen"], session["of"], session["texts"]) == (600, 601, 600)
    assert 400 < session["distinct"] < 800
    assert (session["constant"], session["findings"]) == (False, ["valuesAreIds"])
    channel = features["context.channel"]
    assert (channel["distinct"], channel["constant"], channel["findings"]) == (1, True, [])  # one event lacks it
    total = features["context.sum"]
    assert (total["texts"], total["distinct"], total["large"], total["empty"]) == (0, 0, 300, 300)
    assert total["findings"] == ["numbersLarge"]
    assert (features["action:id"]["seen"], features["action:id"]["distinct"]) == (601 * len(ACTIONS), len(ACTIONS))
    assert [one["seen"] for one in told["features"]] == sorted((one["seen"] for one in told["features"]), reverse=True)


async def test_of_few_events_no_name_is_told(served: InMemory) -> None:
    await _examined(served, 101)

    assert await served.json("GET", PATH) == {"events": 101, "features": []}


async def test_what_was_examined_before_an_erasure_is_not_told(served: InMemory) -> None:
    assert await served.json("GET", PATH) == {"events": 0, "features": []}
    await _examined(served, 601)
    loop = await served.app.loops.named(DEFAULT)
    await checkpoints.save(served.blobs, loop.id, Checkpoint(watermark=60, generation=1), None)

    assert await served.json("GET", PATH) == {"events": 0, "features": []}
