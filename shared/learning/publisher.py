"""Turns a version that was just made into the one that serves, or one that is held back and told of (docs/adr/0025)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from shared.counters import Counters
from shared.learning import pointer as pointers
from shared.learning import registry
from shared.learning.pointer import Pointer
from shared.learning.registry import Version
from shared.learning.vetter import Vetter
from shared.storage import Blobs

log = logging.getLogger("rankloop.train")


class Publisher:
    """Publishes the versions of one loop.

    Args:
        blobs: hold them.
        counters: gets train.versions, train.held.
        loop_id: the loop.
        vetter: says whether a version may serve.
        since: the log holds nothing older any more, in seconds since the epoch.
    """

    def __init__(self, blobs: Blobs, counters: Counters, loop_id: str, vetter: Vetter, since: float) -> None:
        self._blobs = blobs
        self._counters = counters
        self._loop_id = loop_id
        self._vetter = vetter
        self._since = since

    async def publish(
        self, version: Version, model: bytes, costs: Sequence[float | None], before: Pointer | None, etag: str | None
    ) -> None:
        """Store a version, and move the pointer.

        Args:
            version: the new one.
            model: its bytes.
            costs: as for `Vetter.judge`.
            before: where the pointer stood when learning began; None before the first version.
            etag: the pointer's, then.

        Raises:
            Conflict: it has moved since.
        """
        serving = before.serving if before else None
        verdict = await self._vetter.judge(version, model, costs, serving)
        version = msgspec.structs.replace(version, held=verdict.held)
        await registry.note_before(self._blobs, self._loop_id, serving)
        await registry.store(self._blobs, self._loop_id, version, model)
        if verdict.held is None:
            after = before.trained(version, self._since) if before else Pointer(version)
        else:
            sound = await self._vetter.sound(version) if verdict.ruined else version
            after = (before or pointers.nothing(version)).held_back(version, pointers.behind(sound, version))
        await pointers.move(self._blobs, self._loop_id, after, etag)
        self._counters.add("train.versions")
        if verdict.held is not None:
            self._counters.add("train.held")
            log.error("loop %s: version %s is held back, %s goes on serving: %s", self._loop_id, version.version,
                      after.serving.version or "none", verdict.held)  # fmt: skip
            return
        log.info("loop %s %s %s: %d events, mean progressive reward %s", self._loop_id,
                 "has" if after.course.pinned else "serves", version.version, version.events,
                 version.reward)  # fmt: skip
