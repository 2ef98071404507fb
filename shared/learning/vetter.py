"""Turns a version that was just made into whether it may serve: sound numbers, distributions, and no great loss.

What is asked of it is in `shared.learning.vetting`; here the log is read and VW asked (docs/adr/0025).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from shared.learning import registry
from shared.learning.lesson import Job, cost_of, read
from shared.learning.model import Learner, ModelError, ServingModel
from shared.learning.registry import MODEL, Version
from shared.learning.vetting import ENOUGH, PROBES, RECENT, far_below
from shared.learning.weights import is_finite
from shared.log import entry as entries
from shared.log import joined
from shared.log.joined import Window
from shared.log.relabel import relabel
from shared.storage import Blobs, StorageError

_EPSILON = re.compile(r"--epsilon \S+")
_TRIES = 5
"""Versions that are looked at for one to compare with."""
_STEPS = 100
"""Versions that are looked at for a sound one."""
_DAY = 86_400
_Read = tuple[Window, list[bytes]]
"""A window, and what of it is for learning."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it.

    Attributes:
        held: why the version must not serve, a sentence for people; None if it may.
        ruined: whether nothing that is learned on can mend it.
    """

    held: str | None = None
    ruined: bool = False


class Vetter:
    """Judges the versions of one loop.

    Args:
        blobs: hold versions and log.
        job: what they are made for.
    """

    def __init__(self, blobs: Blobs, job: Job) -> None:
        self._blobs = blobs
        self._job = job
        self._loop_id = job.loop_id

    async def judge(
        self, version: Version, model: bytes, costs: Sequence[float | None], serving: Version | None
    ) -> Verdict:
        """Whether a version may serve.

        Args:
            version: it, with the span of the log that it learned.
            model: its bytes.
            costs: what the last events that it learned cost, each by the model of the moment before; None where VW
                refused one.
            serving: the version that serves, if any.

        Raises:
            StorageError: storage does not answer, or the log is damaged.
        """
        if not await asyncio.to_thread(is_finite, model):
            return Verdict("It has weights that are infinite or no numbers.", True)
        recent = await self._recent(version, RECENT if len(costs) >= ENOUGH else PROBES)
        if problem := await _distributions(version, model, recent):
            return Verdict(problem)
        return Verdict(await self._compared(version, costs, recent, serving))

    async def sound(self, version: Version) -> Version | None:
        """The last version before a ruined one that learning can go on from, of the chain that led to it; or None."""
        base = version.base
        for _ in range(_STEPS):
            step = await registry.recorded(self._blobs, self._loop_id, base) if base else None
            if step is None:
                return None
            data = await self._stored(step)
            if data is not None and await asyncio.to_thread(is_finite, data):
                return step
            base = step.base
        return None

    async def _recent(self, version: Version, count: int) -> list[_Read]:
        """The last windows that it learned, in order, with the events for learning: so many of them, or all there are.

        They are listed by spans, back from the last day, each twice as long as the one behind it: a loop may have been
        silent for years.
        """
        found: list[_Read] = []
        first, end, events, span = version.learned_from or 0, version.trained_through, 0, _DAY
        while events < count and first < end:
            start = max(first, end - span)
            for window in reversed(await joined.windows(self._blobs, self._loop_id, start, end)):
                lines, rules = await read(self._blobs, window, self._job)
                wanted = [line for line in lines if self._job.takes(line)]
                found.append((window, wanted if rules is None else [relabel(line, rules) for line in wanted]))
                events += len(found[-1][1])
                if events >= count:
                    break
            end, span = start, 2 * span
        return found[::-1]

    async def _compared(
        self, version: Version, costs: Sequence[float | None], recent: Sequence[_Read], serving: Version | None
    ) -> str | None:
        if serving is None or serving.blank or len(costs) < ENOUGH or not recent:
            return None
        if version.multi_slot or serving.multi_slot:
            return None  # of several slots VW's losses are not what they would cost
        older, data = await self._yardstick(serving, recent[0][0].start)
        if older is None or data is None:
            return None
        epsilon = _EPSILON.search(version.arguments)
        # Both serve with the loop's own exploration, so they are compared with the same.
        same = epsilon[0] if epsilon and _EPSILON.search(older.arguments) else ""
        try:
            learner = await asyncio.to_thread(Learner, older.arguments, data, f"-t {same}")
        except ModelError:
            return None  # it cannot serve either
        try:
            unseen = [line for window, lines in recent if window.start >= older.trained_through for line in lines]
            count = min(len(unseen), len(costs))
            theirs = await asyncio.to_thread(_costs, learner, unseen[len(unseen) - count :])
        finally:
            learner.close()
        return far_below(costs[len(costs) - count :], theirs)

    async def _yardstick(self, serving: Version, start: int) -> tuple[Version | None, bytes | None]:
        """What to compare with on what is joined from a bucket on, and its bytes.

        The serving version, or where it has learned some of that one before it that had learned less: a model that has
        learned the very events would be judged too well.
        """
        if serving.trained_through <= start:
            return serving, await self._stored(serving)
        held = await registry.listed(self._blobs, self._loop_id, start - _DAY, serving.trained_through + 1)
        stored = sorted(name for name, parts in held.items() if MODEL in parts)
        # The newest that has learned none of it, then those that have learned the least.
        before = [name for name in stored if registry.through(name) <= start]
        for name in [*before[::-1][:_TRIES], *stored[len(before) :]][:_TRIES]:
            older = await registry.recorded(self._blobs, self._loop_id, name)
            if older is not None and older.lineage == serving.lineage and older.held is None:
                return older, await self._stored(older)
        return None, None

    async def _stored(self, version: Version) -> bytes | None:
        try:
            return await registry.load(self._blobs, self._loop_id, version)
        except StorageError:
            return None  # thinned out, or damaged


async def _distributions(version: Version, model: bytes, recent: Sequence[_Read]) -> str | None:
    """What is wrong with what a version makes of the last events; single ones may be beyond any model."""
    asked: list[bytes] = []
    for _, lines in reversed(recent):
        asked += lines[len(asked) - PROBES :]
        if len(asked) >= PROBES:
            break
    try:
        probed, failed = await asyncio.to_thread(_probed, model, asked, version.multi_slot)
    except ModelError as e:
        return f"VW does not load it: {e}."
    if 2 * failed > probed:
        return f"It makes no distribution for {failed} of the last {probed} events."
    return None


def _probed(model: bytes, lines: Sequence[bytes], multi_slot: bool) -> tuple[int, int]:
    """Of how many lines the model was asked for a distribution, and for how many it makes none."""
    serving, probed, failed = ServingModel(model, ""), 0, 0
    try:
        for line in lines:
            with suppress(msgspec.MsgspecError):  # VW has refused it, too
                example = bytes(entries.of_line(line).example)
                probed += 1
                failed += not _decides(serving, example, multi_slot)
    finally:
        serving.close()
    return probed, failed


def _decides(serving: ServingModel, example: bytes, multi_slot: bool) -> bool:
    try:
        if multi_slot:
            return bool(serving.score_slots(example))
        return bool(serving.score(example).distribution)
    except ModelError:
        return False


def _costs(learner: Learner, lines: Sequence[bytes]) -> list[float | None]:
    """What a model that does not learn would cost on each line."""
    return [cost_of(learner, line) for line in lines]
