"""Turns loop names into loops with their current settings, as every instance of the deployment sees them.

`deployment.json` names the loops and the state of each one's settings; it is the one blob that is polled. A loop's own
settings are read again only when that has changed (docs/adr/0008).
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from shared.clock import StorageClock
from shared.contract.errors import ApiError
from shared.freshness import Freshness, Keep
from shared.log import activity
from shared.log import checkpoint as checkpoints
from shared.log.buckets import SETTINGS_LAG, Waits, bucket_of, next_bucket
from shared.log.records import APPRENTICE
from shared.loops import deployment as deployments
from shared.loops import keys, policy, settings
from shared.loops.deployment import DEPLOYMENT, Deployment
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.loops.service import DAY, ServiceConfiguration
from shared.loops.settings import Loop
from shared.storage import Blob, Blobs, Conflict, StorageError, Tables, Unavailable

log = logging.getLogger("rankloop.loops")

DEFAULT = "default"
NOTICE = 60
"""Seconds ahead that a changed wait begins, where events are pending; see `Waits`."""
REMEMBERED = 90 * 86_400
"""Seconds for which past waits are kept: longer than any join is behind."""
FIRST_OPTIMIZATION = 15 * DAY
"""Seconds from a loop's making to its first auto-optimization (contract 3.1)."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


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
        self._deployment = Deployment({})
        self._etag: str | None = None
        self._loops: dict[str, Loop] = {}
        self._freshness = Freshness(self._look)

    async def named(self, name: str) -> Loop:
        """The loop of a name, as it was at most 5 s ago.

        Raises:
            ApiError: FrontEndNotFound when there is no such loop.
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
            raise ApiError("FrontEndNotFound", f"There is no loop named {name[:64]!r}.")
        etag = self._etag
        loop = await self.by_id(loop_id)
        if self._etag == etag:  # else a change was seen meanwhile, and this may be from before it
            self._loops[name] = loop
        return loop

    def served(self, name: str) -> Loop | None:
        """The loop of that name as this process has served it; None where it has not, or there is no such loop."""
        return self._loops.get(name)

    async def by_id(self, loop_id: str) -> Loop:
        """The loop of an id, as it is now.

        Raises:
            StorageError: there is no such loop, or storage does not answer.
        """
        blob = await self._settings(loop_id)
        return settings.decode(loop_id, blob.data, blob.etag)

    async def ids(self) -> dict[str, str]:
        """The internal id of every loop by its name, as of now."""
        await self._freshness.refresh()
        return dict(self._deployment.loops)

    async def change(self, name: str, change: Callable[[Loop], Loop]) -> Loop:
        """Change a loop's configuration, policy or keys; every instance acts on it 5 s later.

        Args:
            name: the loop.
            change: makes the new loop of the held one; called again when somebody else was quicker.

        Raises:
            ApiError: FrontEndNotFound when there is no such loop, or what `change` raises.
            StorageError: storage does not answer.
        """
        loop_id = await self._id(name)
        while True:
            blob = await self._settings(loop_id)
            held = settings.decode(loop_id, blob.data, blob.etag)
            changed = change(held)
            waits = await self._waits(held, changed.configuration.reward_wait_time)
            alike = changed.policy == held.policy and changed.configuration.learns_like(held.configuration)
            now = self._clock.now()
            changed = replace(
                changed, waits=waits, edited=held.edited if alike else now, apprentice=_turned(held, changed, now)
            )
            try:
                etag = await self._blobs.put(settings.path(loop_id), settings.encode(changed, blob.data), blob.etag)
                break
            except Conflict:
                continue  # somebody else was quicker: change what they have left
        await self._tell(loop_id, etag)
        # A changed policy wants a new model, though no event may be new. Noted even where nothing has changed, since
        # this may be the repetition of a call that did not come as far as here.
        await activity.note_joined(self._tables, loop_id)
        await self._freshness.refresh()
        return replace(changed, etag=etag)

    async def create(self, name: str) -> tuple[Loop, list[str]]:
        """Make a loop; returns it and its keys, which nobody will see again.

        Raises:
            ApiError: InvalidRequest when the name is no such name, LoopAlreadyExists.
        """
        if not _NAME.fullmatch(name):
            message = "name must have 1 to 63 of a-z, 0-9 and -, neither first nor last a hyphen."
            raise ApiError("InvalidRequest", message, "name")
        await self._freshness.refresh()
        made = [keys.new() for _ in keys.NAMES]
        loop = replace(self._new_loop(), keys=tuple(map(keys.digest, made)))
        etag = await self._blobs.put(settings.path(loop.id), settings.encode(loop))

        def add(deployment: dict[str, Any]) -> None:
            if deployment["loops"].get(name, loop.id) != loop.id:  # ours, if only the answer to our write was lost
                raise ApiError("LoopAlreadyExists", f"There is a loop named {name!r} already.", "name")
            deployment["loops"][name] = loop.id
            deployment.setdefault("settings", {})[loop.id] = etag

        try:
            await deployments.edit(self._blobs, add)
        except ApiError:
            await self._blobs.delete(settings.path(loop.id))
            raise
        await self._freshness.refresh()
        return replace(loop, etag=etag), made

    async def delete(self, name: str) -> None:
        """Take a loop out of the deployment, at once; what it stored goes a little later (`deleted`).

        Raises:
            ApiError: FrontEndNotFound when there is no such loop, InvalidRequest for the default one.
        """
        if name == DEFAULT:
            raise ApiError("InvalidRequest", "The default loop cannot be deleted; delete its logs and model.", "name")

        loop_id = await self._id(name)
        await self._clock.ensure()

        def remove(deployment: dict[str, Any]) -> None:
            if deployment["loops"].get(name) == loop_id:
                del deployment["loops"][name]
                deployment.setdefault("settings", {}).pop(loop_id, None)
                deployment.setdefault("deleted", {})[loop_id] = self._clock.now()

        await deployments.edit(self._blobs, remove)
        await activity.note_joined(self._tables, loop_id)  # wakes the train timer, which clears up
        await self._freshness.refresh()

    async def settle(self, loop: Loop) -> None:
        """Tell every instance of a loop's settings, if whoever changed them died before it could.

        Args:
            loop: as it is now.
        """
        if self._deployment.settings.get(loop.id) != loop.etag:
            await self._tell(loop.id, loop.etag)

    async def deleted(self) -> dict[str, float]:
        """Loops that are gone but for what they stored: their ids, and when they went."""
        await self._freshness.ensure()
        return dict(self._deployment.deleted)

    async def forget(self, loop_id: str) -> None:
        """Note that nothing of a deleted loop is stored any more."""
        await deployments.edit(self._blobs, lambda deployment: deployment.get("deleted", {}).pop(loop_id, None))

    async def _id(self, name: str) -> str:
        """The id of a loop as of now: what this instance has seen may be of one that is gone."""
        loop_id = (await self.ids()).get(name)
        if loop_id is None:
            raise ApiError("FrontEndNotFound", f"There is no loop named {name[:64]!r}.")
        return loop_id

    async def _settings(self, loop_id: str) -> Blob:
        blob = await self._blobs.get(settings.path(loop_id))
        if blob is None:
            raise StorageError(f"the settings of loop {loop_id} are gone")
        return blob

    async def _waits(self, loop: Loop, wait: float) -> Waits:
        """The loop's waits with a change: a minute ahead, or from where the join stands where no event is pending."""
        if wait == loop.waits.steps[-1][1]:
            return loop.waits
        pending = loop.id in await activity.noted(self._tables)
        checkpoint, _ = await checkpoints.load(self._blobs, loop.id)
        await self._clock.ensure()
        now = self._clock.now()
        # At once, who has not seen the change acknowledges within any grace; from now on that of the new wait holds.
        since = next_bucket(now + NOTICE) if pending else min(checkpoint.watermark, bucket_of(now) - SETTINGS_LAG)
        return loop.waits.with_change(since, wait, forget_before=int(now) - REMEMBERED)

    async def _look(self) -> Keep | None:
        blob = await self._blobs.get_changed(DEPLOYMENT, self._etag)
        if blob is None:
            return await self._found() if self._etag is None else None
        deployment = deployments.decode(blob.data)
        before, loops = self._deployment, {}
        for name, loop in list(self._loops.items()):
            loop_id = deployment.loops.get(name)
            if loop_id is None:
                continue
            same = loop_id == loop.id and deployment.settings.get(loop_id) == before.settings.get(loop_id)
            loops[name] = loop if same else await self._reread(loop_id, loop)

        def keep() -> None:
            self._deployment, self._etag, self._loops = deployment, blob.etag, loops

        return keep

    async def _reread(self, loop_id: str, held: Loop) -> Loop:
        """The loop as it is now; as it was held, where its settings cannot be understood."""
        try:
            return await self.by_id(loop_id)
        except Unavailable:
            raise
        except StorageError as e:  # one loop's trouble, perhaps a later release's settings, is not the others'
            log.error("loop %s goes on with the settings it had: %s", loop_id, e)
            return held

    def _new_loop(self) -> Loop:
        now = self._clock.now()
        configuration = ServiceConfiguration(auto_optimization_start=float(int(now + FIRST_OPTIMIZATION)))
        arguments = DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]
        waits = Waits(((0, configuration.reward_wait_time),))
        return Loop(uuid.uuid4().hex, configuration, policy.read(arguments), waits, created=now)

    async def _found(self) -> Keep | None:
        """Make the deployment with its default loop; several instances may try at once."""
        loop = self._new_loop()
        state = await self._blobs.put(settings.path(loop.id), settings.encode(loop))
        deployment = Deployment({DEFAULT: loop.id}, {loop.id: state})
        try:
            etag = await self._blobs.put(DEPLOYMENT, msgspec.json.encode(deployment))
        except Conflict:
            blob = await self._blobs.get(DEPLOYMENT)
            found = deployments.decode(blob.data) if blob else deployment
            # Not ours if another instance was quicker; ours all the same if only the answer to our write was lost.
            if loop.id not in found.loops.values():
                await self._blobs.delete(settings.path(loop.id))
            return await self._look()

        def keep() -> None:
            self._deployment, self._etag = deployment, etag

        return keep

    async def _tell(self, loop_id: str, etag: str) -> None:
        """Let every instance know that the settings of a loop are in another state."""

        def tell(deployment: dict[str, Any]) -> None:
            if loop_id in deployment["loops"].values():  # else it was deleted meanwhile
                deployment.setdefault("settings", {})[loop_id] = etag

        await deployments.edit(self._blobs, tell)


def _turned(held: Loop, changed: Loop, now: float) -> float | None:
    """When a loop was last turned to Apprentice mode, to the millisecond, given a change of it."""
    before, after = held.configuration.learning_mode, changed.configuration.learning_mode
    if before == after or APPRENTICE not in (before, after):
        return held.apprentice
    last = held.apprentice or 0.0
    return round(max(now, last + 0.001), 3) if after == APPRENTICE else last
