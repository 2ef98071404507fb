"""Turns a version whose bytes were thinned out into those bytes again: what was kept before it, and the log since.

Learning is repeatable bit for bit (docs/adr/0004), and the record of a version says what it learned, so its SHA-256
tells whether the bytes are the ones that served.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from shared.counters import Counters
from shared.learning import registry
from shared.learning.lesson import Job, learn_window
from shared.learning.model import Learner, ModelError
from shared.learning.registry import Version
from shared.log import joined
from shared.log.erasure import Erased
from shared.storage import Blobs, StorageError

MAX_LINES = 200_000
"""Lines of the log that are learned again for one version: some ten seconds of a core."""
MAX_KEPT = 32 * 1024 * 1024
"""Bytes of models that stay in memory."""


class Gone(Exception):
    """A version cannot be had any more; the text says why, in a sentence for people."""


class Rebuilder:
    """The bytes of versions, whether they are stored or not.

    Args:
        blobs: hold the versions and the log.
        counters: gets models.rebuilt.

    Attributes:
        turn: to be held from before `model` is called until its bytes are done with, so that in one process the
            memory of one model is in use at a time, however many ask.
    """

    def __init__(self, blobs: Blobs, counters: Counters) -> None:
        self._blobs = blobs
        self._counters = counters
        self.turn = asyncio.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    async def model(self, loop_id: str, name: str, since: int, erased: Erased) -> tuple[Version, bytes]:
        """A version and its bytes.

        Args:
            loop_id: the loop.
            name: of the version.
            since: what the log held before this bucket is deleted.
            erased: what of the log must not be seen any more.

        Raises:
            Gone: it is not stored, and cannot be rebuilt.
            StorageError: storage does not answer, or what it holds is damaged.
        """
        version = await self._record(loop_id, name)
        if version is None:
            raise Gone(f"There is no record of model version {name}: it is older than the log, or of an older release.")
        data = self._kept.get(version.sha256)
        if data is None:
            data = await self._stored(loop_id, version)
            if data is None:
                data = await self._rebuilt(loop_id, version, since, erased)
            self._keep(version.sha256, data)
        return version, data

    async def _record(self, loop_id: str, name: str) -> Version | None:
        """The record of a version; the pointer's, where a release made it that kept none and it still serves."""
        version = await registry.recorded(self._blobs, loop_id, name)
        if version is None:
            serving, _ = await registry.current(self._blobs, loop_id)
            version = serving if serving is not None and serving.version == name else None
        return version

    async def _stored(self, loop_id: str, version: Version) -> bytes | None:
        blob = await self._blobs.get(registry.model_path(loop_id, version.version))
        if blob is None:
            return None
        if await asyncio.to_thread(_sha256, blob.data) != version.sha256:
            raise StorageError(f"model {version.version} is damaged: its hash is not the one it was published with")
        return blob.data

    async def _rebuilt(self, loop_id: str, version: Version, since: int, erased: Erased) -> bytes:
        steps, base = await self._way(loop_id, version, since)
        try:
            data = await self._learned(loop_id, steps, base, erased)
        except ModelError as e:
            raise Gone(f"Model version {version.version} was not kept, and VW does not learn it again: {e}.") from e
        if await asyncio.to_thread(_sha256, data) != version.sha256:
            raise Gone(
                f"Model version {version.version} was not kept, and the log does not give it again: some of what it "
                "learned has been erased since, or its policy does not learn repeatably."
            )
        self._counters.add("models.rebuilt")
        return data

    async def _way(self, loop_id: str, version: Version, since: int) -> tuple[Sequence[Version], bytes | None]:
        """The versions to be made again, in order, and the bytes to begin with; None to begin with nothing."""
        steps, lines, step = [version], version.lines, version
        while True:
            if step.learned_from is None:
                raise Gone(f"Model version {step.version} is not stored any more, and was not made from the log.")
            if step.shards:
                raise Gone(f"Model version {step.version} is not stored any more, and was merged of several.")
            if step.learned_imports:
                raise Gone(f"Model version {step.version} is not stored any more, and had learned imports.")
            if step.learned_from < since:
                raise Gone(f"Model version {version.version} was not kept, and the log that it learned is deleted.")
            if lines > MAX_LINES:
                raise Gone(
                    f"Model version {version.version} was not kept, and to rebuild it takes {lines} events or more; "
                    f"{MAX_LINES} are learned for one call."
                )
            if step.base is None:
                return steps[::-1], None
            before = await registry.recorded(self._blobs, loop_id, step.base)
            if before is None:
                raise Gone(f"Model version {version.version} was not kept, nor the record of {step.base} before it.")
            if (data := await self._stored(loop_id, before)) is not None:
                return steps[::-1], data
            steps.append(before)
            step = before
            lines += step.lines

    async def _learned(self, loop_id: str, steps: Sequence[Version], base: bytes | None, erased: Erased) -> bytes:
        """What comes of a model, or of none, by learning what versions have learned, in one run."""
        learner = await asyncio.to_thread(Learner, steps[0].arguments, base, steps[0].resuming)
        try:
            for step in steps:
                start, end = step.learned_from or 0, step.trained_through
                job = Job(
                    loop_id, "", "", step.lineage, step.multi_slot, step.mode, end, start, 0, 0.0, erased,
                    shaping=step.shaping,
                )  # fmt: skip
                for window in await joined.windows(self._blobs, loop_id, start, end):
                    await learn_window(self._blobs, learner, window, job)
            return await asyncio.to_thread(learner.save)
        finally:
            learner.close()

    def _keep(self, sha256: str, data: bytes) -> None:
        self._kept[sha256] = data
        while sum(map(len, self._kept.values())) > MAX_KEPT:
            self._kept.popitem(last=False)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
