"""Turns a loop's model pointer into a live model in this process, swapped when a new version is published."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from shared.counters import Counters
from shared.freshness import Freshness
from shared.learning import registry
from shared.learning.model import ModelError, ServingModel
from shared.learning.registry import Version
from shared.storage import Blobs, StorageError

log = logging.getLogger("rankloop.model")


@dataclass(slots=True)
class Held:
    """The model that serves a loop in this process.

    Attributes:
        version: the published version, or None before the first.
        model: the live model of that version, or None.
        arguments: the serving arguments the model was loaded with.
    """

    version: Version | None = None
    model: ServingModel | None = None
    arguments: str = ""


class ModelCache:
    """Live models by loop.

    A version that cannot be loaded is counted and logged, and the one before it goes on serving.
    """

    def __init__(self, blobs: Blobs, counters: Counters) -> None:
        self._blobs = blobs
        self._counters = counters
        self._entries: dict[str, _Entry] = {}

    async def get(self, loop_id: str, arguments: str) -> Held:
        """The loop's model as it was published at most 5 s ago, loaded with these serving arguments.

        Raises:
            StorageError: storage does not answer, and the loop's pointer was never seen.
        """
        entry = self._entries.get(loop_id)
        if entry is None:
            entry = self._entries[loop_id] = _Entry(loop_id, self._blobs, self._counters)
        await entry.freshness.ensure()
        if not entry.freshness.seen:
            raise StorageError("the loop's model could not be read yet")
        if arguments != entry.held.arguments:
            entry.open(arguments)
        return entry.held


class _Entry:
    """One loop's pointer, bytes and live model."""

    def __init__(self, loop_id: str, blobs: Blobs, counters: Counters) -> None:
        self.held = Held()
        self.freshness = Freshness(self._look)
        self._loop_id = loop_id
        self._blobs = blobs
        self._counters = counters
        self._etag: str | None = None
        self._data: bytes | None = None
        self._version: Version | None = None

    async def _look(self) -> None:
        blob = await self._blobs.get_changed(registry.pointer_path(self._loop_id), self._etag)
        if blob is None:
            return
        version = registry.decode_pointer(blob.data)
        self._data = await registry.load(self._blobs, self._loop_id, version)
        self._version, self._etag = version, blob.etag
        self.open(self.held.arguments)

    def open(self, arguments: str) -> None:
        """Load the bytes with these arguments and let the result serve; takes 3 to 7 ms for an 18-bit model."""
        if self._data is None:
            self.held = Held(arguments=arguments)
            return
        try:
            model = ServingModel(self._data, arguments)
        except ModelError as e:
            self._counters.add("model.refused")
            log.error("loop %s: model %s does not load, the one before goes on serving: %s",
                      self._loop_id, self._version and self._version.version, e)  # fmt: skip
            self.held.arguments = arguments
            return
        before, self.held = self.held, Held(self._version, model, arguments)
        self._counters.add("model.loaded")
        if before.model is not None:
            before.model.close()  # no call is inside it: calls into VW never wait
