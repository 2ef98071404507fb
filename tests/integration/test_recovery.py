"""The drill of docs/recovery.md: storage copied to a new account while it serves, and the app served on the copy.

And a storage key that is changed while two instances serve.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from backup.__main__ import main
from localhost.azurite import Azurite
from shared import app as running
from shared.learning import registry
from shared.storage import StorageError
from shared.storage.azure import AzureStorage
from tests.integration.served import ROOT, Served
from tests.integration.test_stories import API, World

ONE, TWO, NEXT = (base64.b64encode(bytes([n]) * 64).decode() for n in range(3))
"""Keys of accounts, which open nothing but an Azurite of a test."""
KEY = {"Ocp-Apim-Subscription-Key": "k", "Content-Type": "application/json"}


@pytest.fixture
async def azurite() -> AsyncIterator[Azurite]:
    with Azurite(accounts={"before": [ONE], "after": [TWO]}) as started:
        yield started


class Serving:
    """The process's own app is that of one world or the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
        self.world = world
        monkeypatch.setattr(running, "current", lambda: self.world.app)

    async def told(self, world: World, path: str) -> Any:
        """What a world answers to a read."""
        self.world = world
        return orjson.loads(await world.done("GET", path))

    async def ranks(self, world: World, event_id: str) -> bytes:
        """What a world ranks."""
        self.world = world
        await world.rank(event_id, contextFeatures=[{"hour": 3}])
        return world.answers.pop(event_id)


async def test_a_copy_made_while_it_serves_answers_the_same(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"FROM": azurite.connect("before", ONE), "TO": azurite.connect("after", TWO)}
    async with AzureStorage(places["FROM"]) as held, AzureStorage(places["TO"]) as empty:
        world = World(held)
        serving = Serving(monkeypatch, world)
        for label in ("blank", "learned", "latest"):
            for n in range(4):
                await world.rank(f"{label}-{n}", float(n % 2))
            await world.app.journal.drain()
            await world.timers()
        await world.rank("rewarded before", 1.0)
        await world.rank("rewarded after")
        await world.app.journal.drain()
        acknowledged, loop_id = dict(world.answers), await world.loop_id()
        before, _ = await registry.current(world.blobs, loop_id)
        copying = asyncio.create_task(asyncio.to_thread(main, places))

        meanwhile = 0
        while not copying.done():
            await world.rank(f"meanwhile {meanwhile}", 1.0)
            await world.app.join_due()
            meanwhile += 1
        assert copying.result() == 0, capsys.readouterr().err
        assert meanwhile > 0

        twin = World(empty)
        twin.now, twin.answers = world.now, acknowledged
        twin.app = twin.instance()
        after, _ = await registry.current(twin.blobs, loop_id)
        assert (await twin.loop_id(), after) == (loop_id, before)
        for event in ("blank-1", "learned-1", "latest-1", "rewarded before"):
            for path in (f"rankloop/v1/events/{event}", f"rankloop/v1/events/{event}/explanation"):
                assert await serving.told(twin, path) == await serving.told(world, path), path
        for path in (f"{API}/configurations/service", f"{API}/configurations/policy", f"{API}/model/properties"):
            assert await serving.told(twin, path) == await serving.told(world, path)
        assert await serving.ranks(twin, "asked of both") == await serving.ranks(world, "asked of both")

        serving.world = twin
        await twin.done("POST", f"{API}/events/rewarded after/reward", {"value": 0.5})
        await twin.app.journal.drain()
        await twin.timers()
        await twin.check()
        for event_id, reward in (("rewarded before", 1.0), ("rewarded after", 0.5)):
            told = await twin.event(event_id)
            assert (told.state, [one.learned for one in told.rewards]) == ("joined", [reward])
        assert (await registry.current(twin.blobs, loop_id))[0] != before, "it learns on"


def test_a_key_of_the_storage_is_changed_while_instances_serve(tmp_path: Path) -> None:
    """Instances move from the first key to the second; only then is the first one made anew."""
    storage = Azurite(tmp_path, accounts={"before": [ONE, TWO]}).start()
    try:
        with (
            Served(ROOT, env=settings(storage.connect("before", TWO))) as moved,
            Served(ROOT, env=settings(storage.connect("before", ONE))) as old,
        ):
            for n, instance in enumerate((old, moved, old, moved)):
                assert rank(instance, f"e{n}") == 201
            assert old.stop() == 0
            assert rank(moved, "alone") == 201
            storage.stop()
            storage.accounts = {"before": [NEXT, TWO]}
            storage.start()

            assert rank(moved, "later") == 201
            assert [moved.get(f"/rankloop/v1/events/{e}", KEY).status for e in ("e0", "e3", "alone", "later")] == 4 * [
                200
            ]
        with pytest.raises(StorageError):
            asyncio.run(look(storage.connect("before", ONE)))
    finally:
        storage.stop()


async def look(storage: str) -> None:
    """Read something, which takes a key that counts."""
    async with AzureStorage(storage) as held:
        await held.blobs.get("deployment.json")


def settings(storage: str) -> dict[str, str]:
    # A busy machine is no reason for a 503.
    deadlines = dict.fromkeys(("RANKLOOP_LOG_DEADLINE_MS", "RANKLOOP_REWARD_DEADLINE_MS"), "3500")
    never = dict.fromkeys(("RANKLOOP_JOIN_SCHEDULE", "RANKLOOP_TRAIN_SCHEDULE"), "0 0 0 29 2 *")
    return {"RANKLOOP_STORAGE": storage, "AzureWebJobsStorage": storage, "RANKLOOP_KEY": "k", **deadlines, **never}


def rank(instance: Served, event_id: str) -> int:
    """The status that a Rank is answered with, once its event is stored."""
    event = {"actions": [{"id": "a", "features": [{"x": 1}]}], "eventId": event_id}
    answer = instance.post("/personalizer/v1.0/rank", orjson.dumps(event), KEY)
    assert answer.headers["x-rankloop-log"] is None, instance.errors
    return answer.status
