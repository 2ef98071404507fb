"""Turns loop names into loops with their current settings, as every instance of the deployment sees them.

`deployment.json` names the loops and counts the changes of any loop's settings; it is the one blob that is polled. A
loop's own settings are read again only when the count has moved (docs/adr/0008).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import msgspec
import orjson

from shared.clock import StorageClock
from shared.contract.errors import ApiError
from shared.freshness import Freshness
from shared.log import activity
from shared.log.buckets import Waits, next_bucket
from shared.log.joiner import LoopRules
from shared.loops.service import ServiceConfiguration
from shared.storage import Blobs, Conflict, StorageError, Tables, Unavailable, documents

DEFAULT = "default"
DEPLOYMENT = "deployment.json"
NOTICE = 60
"""Seconds ahead that a changed wait begins, where events are pending; see `Waits`."""
REMEMBERED = 90 * 86_400
"""Seconds for which past waits are kept: longer than any join is behind."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A learning loop.

    Attributes:
        id: 32 hex digits, for ever; names its tables, rows and blobs.
        configuration: its service settings.
        waits: the reward waits, past and coming.
        etag: the state of its settings blob.
    """

    id: str
    configuration: ServiceConfiguration
    waits: Waits
    etag: str

    def rules(self) -> LoopRules:
        """The loop as the join sees it."""
        held = self.configuration
        return LoopRules(self.id, self.waits, held.default_reward, held.reward_aggregation, held.reward_range)


class _Deployment(msgspec.Struct):
    loops: dict[str, str]
    version: int = 0
    format: int = 1


class _Settings(msgspec.Struct):
    configuration: ServiceConfiguration
    waits: Annotated[list[tuple[int, float]], msgspec.Meta(min_length=1)]
    format: int = 1


def settings_path(loop_id: str) -> str:
    """The blob of a loop's settings."""
    return f"loops/{loop_id}/settings.json"


class Loops:
    """The loops of the deployment.

    Args:
        tables, blobs: where settings live, and the notes of pending events.
        clock: the storage's time, from which a changed wait begins.
    """

    def __init__(self, tables: Tables, blobs: Blobs, clock: StorageClock) -> None:
        self._tables = tables
        self._blobs = blobs
        self._clock = clock
        self._deployment = _Deployment({})
        self._etag: str | None = None
        self._loops: dict[str, Loop] = {}
        self._freshness = Freshness(self._look)

    async def named(self, name: str) -> Loop:
        """The loop of a name, as it was at most 5 s ago.

        Raises:
            ApiError: ResourceNotFound when there is no such loop.
            Unavailable: storage does not answer, and the loop was never seen.
        """
        await self._freshness.ensure()
        loop = self._loops.get(name)
        if loop is not None:
            return loop
        if not self._freshness.seen:
            raise Unavailable("the loop's settings could not be read yet")
        loop_id = self._deployment.loops.get(name)
        if loop_id is None:
            raise ApiError("ResourceNotFound", f"There is no loop named {name[:64]!r}.")
        etag = self._etag
        loop = await self._read(loop_id)
        if self._etag == etag:  # else a change was seen meanwhile, and this may be from before it
            self._loops[name] = loop
        return loop

    async def by_id(self, loop_id: str) -> Loop:
        """The loop of an id, as it is now.

        Raises:
            StorageError: there is no such loop, or storage does not answer.
        """
        return await self._read(loop_id)

    async def configure(self, name: str, change: Callable[[ServiceConfiguration], ServiceConfiguration]) -> Loop:
        """Change a loop's settings; every instance acts on them 5 s later.

        Args:
            name: the loop.
            change: makes the new settings of the held ones; called again when somebody else was quicker.

        Raises:
            ApiError: ResourceNotFound when there is no such loop, or what `change` raises.
            StorageError: storage does not answer.
        """
        loop_id = (await self.named(name)).id
        while True:
            loop = await self._read(loop_id)
            configuration = change(loop.configuration)
            waits = await self._waits(loop, configuration.reward_wait_time)
            settings = _Settings(configuration, list(waits.steps))
            try:
                await self._blobs.put(settings_path(loop_id), msgspec.json.encode(settings), loop.etag)
                break
            except Conflict:
                continue  # somebody else was quicker: change what they have left
        await self._count_change()
        await self._freshness.refresh()
        return await self.named(name)

    async def _waits(self, loop: Loop, wait: float) -> Waits:
        """The loop's waits with a change: a minute ahead, or at once where no event is pending that could mind."""
        if wait == loop.waits.steps[-1][1]:
            return loop.waits
        if loop.id not in await activity.noted(self._tables):
            # An instance that has not seen the change yet acknowledges within its deadline, and so within any grace.
            return Waits(((0, wait),))
        await self._clock.ensure()
        now = self._clock.now()
        return loop.waits.with_change(next_bucket(now + NOTICE), wait, forget_before=int(now) - REMEMBERED)

    async def _read(self, loop_id: str) -> Loop:
        blob = await self._blobs.get(settings_path(loop_id))
        if blob is None:
            raise StorageError(f"the settings of loop {loop_id} are gone")
        settings = documents.decode(blob.data, _Settings, settings_path(loop_id))
        return Loop(loop_id, settings.configuration, Waits(tuple(settings.waits)), blob.etag)

    async def _look(self) -> None:
        blob = await self._blobs.get_changed(DEPLOYMENT, self._etag)
        if blob is None:
            if self._etag is None:
                await self._found()
            return
        deployment = documents.decode(blob.data, _Deployment, DEPLOYMENT)
        kept = [name for name in self._loops if name in deployment.loops]
        # Read before anything is replaced: where storage fails here, what was last seen goes on standing.
        loops = {name: await self._read(deployment.loops[name]) for name in kept}
        self._deployment, self._etag, self._loops = deployment, blob.etag, loops

    async def _found(self) -> None:
        """Make the deployment with its default loop; several instances may try at once."""
        loop_id = uuid.uuid4().hex
        configuration = ServiceConfiguration()
        settings = _Settings(configuration, [(0, configuration.reward_wait_time)])
        await self._blobs.put(settings_path(loop_id), msgspec.json.encode(settings))
        deployment = _Deployment({DEFAULT: loop_id})
        try:
            self._etag = await self._blobs.put(DEPLOYMENT, msgspec.json.encode(deployment))
            self._deployment = deployment
        except Conflict:
            await self._look()
            # Not ours if another instance was quicker; ours all the same if only the answer to our write was lost.
            if loop_id not in self._deployment.loops.values():
                await self._blobs.delete(settings_path(loop_id))

    async def _count_change(self) -> None:
        """Tell every instance that some loop's settings have changed."""
        while True:
            blob = await self._blobs.get(DEPLOYMENT)
            if blob is None:
                raise StorageError(f"{DEPLOYMENT} is gone")
            documents.decode(blob.data, _Deployment, DEPLOYMENT)
            deployment = orjson.loads(blob.data)  # with what a later release has added to it
            deployment["version"] += 1
            try:
                await self._blobs.put(DEPLOYMENT, orjson.dumps(deployment), blob.etag)
                return
            except Conflict:
                continue  # another change was counted first: count ours on top
