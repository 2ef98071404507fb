"""Turns a loop's model pointer into a live model in this process, swapped when a new version is published."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from shared.contract.errors import ApiError
from shared.counters import Counters
from shared.freshness import Freshness, Keep
from shared.learning import registry
from shared.learning.model import ModelError, ServingModel
from shared.learning.registry import Version
from shared.loops import policy
from shared.loops.policy import Policy
from shared.loops.settings import Loop
from shared.storage import Blobs, StorageError

log = logging.getLogger("rankloop.model")

NO_MODEL = b"N/A"
"""How the log names the version where none served."""
IDLE = 3600.0
"""Seconds without a call after which a loop's model is dropped from memory, when another loop needs some."""


@dataclass(slots=True)
class Held:
    """The model that serves a loop in this process.

    Attributes:
        version: the published version, or None before the first.
        model: the live model of that version, or None.
        policy: what that model was made with, which need not be the loop's any more.
        exploration: the exploration percentage that the model was loaded with.
    """

    version: Version | None = None
    model: ServingModel | None = None
    policy: Policy | None = None
    exploration: float = 0.0

    @property
    def met(self) -> frozenset[str]:
        """Initials of the namespaces that the model has met."""
        return self.model.met if self.model else frozenset()

    def meet(self, initials: frozenset[str]) -> None:
        """Have the model meet namespaces of these initials, if there is one; see `ServingModel.meet`."""
        if self.model:
            self.model.meet(initials)

    def without_model(self) -> Held:
        """The same where the model is not asked: a loop without one, with this exploration."""
        return Held(exploration=self.exploration)

    @property
    def name(self) -> bytes:
        """The version as the log names it."""
        return self.version.version.encode() if self.version and self.model else NO_MODEL


class ModelCache:
    """Live models by loop.

    A version that cannot be loaded is counted and logged, and the one before it goes on serving.
    """

    def __init__(self, blobs: Blobs, counters: Counters) -> None:
        self._blobs = blobs
        self._counters = counters
        self._entries: dict[str, _Entry] = {}

    async def get(self, loop: Loop) -> Held:
        """The loop's model as it was published at most 5 s ago, loaded with the loop's exploration percentage.

        Where the loop has just changed between single slot and multi-slot, the model of the other kind is of no use.

        Raises:
            StorageError: storage does not answer, and the loop's pointer was never seen.
        """
        entry = self._entries.get(loop.id)
        if entry is None:
            self._drop_idle()
            entry = self._entries[loop.id] = _Entry(loop.id, self._blobs, self._counters)
        entry.called = time.monotonic()
        await entry.freshness.ensure()
        if not entry.freshness.seen:
            raise StorageError("the loop's model could not be read yet")
        held = entry.held
        if loop.configuration.exploration_percentage != entry.exploration:
            held = entry.open(loop.configuration.exploration_percentage)
        if held.policy is not None and held.policy.problem is not loop.policy.problem:
            return Held()
        return held

    def _drop_idle(self) -> None:
        """Free the models of loops that nobody calls any more; deleted ones are among them."""
        for loop_id, entry in list(self._entries.items()):
            if time.monotonic() - entry.called > IDLE:
                entry.close()
                del self._entries[loop_id]

    async def renew(self, loop_id: str) -> None:
        """Look at the loop's pointer now, which this process has just moved.

        Raises:
            StorageError: storage does not answer.
        """
        if (entry := self._entries.get(loop_id)) is not None:
            await entry.freshness.refresh()


class _Entry:
    """One loop's pointer, bytes and live model."""

    def __init__(self, loop_id: str, blobs: Blobs, counters: Counters) -> None:
        self.held = Held()
        self.exploration = 0.0
        self.freshness = Freshness(self._look)
        self.called = time.monotonic()
        self._loop_id = loop_id
        self._blobs = blobs
        self._counters = counters
        self._etag: str | None = None
        self._data: bytes | None = None
        self._version: Version | None = None

    async def _look(self) -> Keep | None:
        blob = await self._blobs.get_changed(registry.pointer_path(self._loop_id), self._etag)
        if blob is None:
            return None
        version = registry.decode_pointer(blob.data)
        if version == self._version:

            def same() -> None:
                self._etag = blob.etag  # while a version is pinned only what stands beside it moves

            return same
        data = None if version.blank else await registry.load(self._blobs, self._loop_id, version)

        def keep() -> None:
            self._data, self._version, self._etag = data, version, blob.etag
            self.open(self.exploration)

        return keep

    def open(self, exploration: float) -> Held:
        """Load the bytes and let the result serve; takes 3 to 7 ms for an 18-bit model."""
        before, self.exploration = self.held, exploration
        if self._data is None or self._version is None:
            self.held = Held(exploration=exploration)
        else:
            try:
                made_with = policy.read(self._version.arguments)
                model = ServingModel(self._data, made_with.serving(exploration))
            except (ModelError, ApiError) as e:  # or of options that only a later release knows
                self._counters.add("model.refused")
                log.error("loop %s: model %s does not load, the one before goes on serving: %s",
                          self._loop_id, self._version.version, e)  # fmt: skip
                return self.held
            self.held = Held(self._version, model, made_with, exploration)
            self._counters.add("model.loaded")
        if before.model is not None:
            before.model.close()  # no call is inside it: calls into VW never wait
        return self.held

    def close(self) -> None:
        """Free VW's memory."""
        if self.held.model is not None:
            self.held.model.close()
