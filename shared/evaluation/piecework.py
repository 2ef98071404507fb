"""Turns a piece of a plan into what is kept of it, and tells its job how far that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from shared import jobs
from shared.child import IDLE, Apart, apart
from shared.evaluation import pieces
from shared.evaluation.plan import Part, Piece, State
from shared.evaluation.scoring import Candidate, Scored, Task, score
from shared.learning.excerpt import Excerpt, Stretch
from shared.learning.model import ModelError
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.joined import DSJSON
from shared.storage import Blobs
from shared.work import Piece as Work

in_child: Final = apart(score, IDLE)
"""Does a task in a process of its own, in the time that nobody else wants: calls come first."""


class Scoring(Work, frozen=True, tag="evaluate"):
    """A piece of an evaluation, as it is sent.

    Attributes:
        loop: the loop's id.
        job: the job's.
        group, shard: see `plan.Piece`.
    """

    loop: str
    job: str
    group: int
    shard: int


class Scorings:
    """The pieces of evaluations over one storage account.

    Args:
        blobs: hold the log, and get what comes of the pieces.
        apart: does the task of a piece, see `scoring.score`.
    """

    def __init__(self, blobs: Blobs, apart: Apart) -> None:
        self._blobs = blobs
        self._apart = apart

    async def do(self, loop_id: str, state: State, piece: Piece, now: float) -> None:
        """Do a piece of a plan, and note where that fails for another reason than storage that does not answer.

        Raises:
            Exception: it was not done.
        """
        name = f"{piece.group + 1}.{piece.shard + 1}"
        async with jobs.piece(self._blobs, loop_id, state.plan.job, name, now, (ModelError,)):
            await self._do(loop_id, state, piece)

    async def _do(self, loop_id: str, state: State, piece: Piece) -> None:
        plan = state.plan
        done = await self._apart(await self._task(loop_id, state, piece))
        events = msgspec.msgpack.decode(done, type=Scored).events
        await pieces.keep(self._blobs, loop_id, plan, piece, done)
        further = await pieces.state(self._blobs, loop_id, plan)

        def noted(record: jobs.Record) -> jobs.Record:
            record = msgspec.structs.replace(record, done=further.done())
            if piece.group:
                return record
            seen = record.events + events
            estimated = round(seen * plan.ends[-1] / max(1, plan.ends[piece.shard]))
            return msgspec.structs.replace(record, events=seen, estimated=estimated)

        held = await jobs.change(self._blobs, loop_id, plan.job, noted)
        if held is None or not held.running:  # it was canceled meanwhile, and cleared up
            await pieces.clear(self._blobs, loop_id, plan.job)

    async def _task(self, loop_id: str, state: State, piece: Piece) -> bytes:
        """The message of what a piece takes.

        Raises:
            StorageError: what it goes on from, or a window, is gone; or storage does not answer.
        """
        plan, models, judge, expected = state.plan, dict[str, bytes](), None, None
        if piece.shard:
            before = await pieces.read(self._blobs, loop_id, plan, Piece(piece.group, piece.shard - 1))
            models, judge = before.models, before.judge
        if piece.group:
            expected = (await pieces.read(self._blobs, loop_id, plan, Piece(0, piece.shard))).expected
        checkpoint, _ = await checkpoints.load(self._blobs, loop_id)
        stretches = await self._stretches(loop_id, plan.parts(piece.shard))
        candidates = [
            Candidate(one.name, one.source, one.training, one.resuming, models.get(one.name))
            for one in state.entrants(piece)
        ]
        task = Task(
            Excerpt(plan.multi_slot, plan.mode, plan.rules, checkpoint.erasures, stretches),
            candidates,
            plan.rules.reward_range,
            judge=judge,
            expected=expected,
            keep=piece.shard + 1 < len(plan.ends),
            slots=plan.slots,
        )
        return msgspec.msgpack.encode(task)

    async def _stretches(self, loop_id: str, parts: Sequence[Part]) -> list[Stretch]:
        """What the log holds of a shard.

        Raises:
            StorageError: a window is gone, or storage does not answer.
        """
        if not parts:
            return []
        # As they are now: an erasure writes windows anew.
        now = await joined.windows(self._blobs, loop_id, parts[0].window.start, parts[-1].window.start + 1)
        current = {(window.start, window.end): window for window in now}
        return [
            Stretch(
                window.start,
                await joined.fetch(self._blobs, loop_id, current.get((window.start, window.end), window), DSJSON),
                first,
                last,
                size,
            )
            for window, first, last, size in parts
        ]
