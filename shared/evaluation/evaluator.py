"""Turns the plan of an evaluation into its results, piece by piece, whoever does them and whoever is killed.

Pieces are sent; who does the last of a round decides who goes on, and who does the last of all writes the results. The
train timer sees that none is lost, and does what nobody takes (docs/adr/0032).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import msgspec

from shared import jobs
from shared.child import Apart
from shared.contract.evaluations import EvaluationType, Status
from shared.contract.versions import Version
from shared.evaluation import asked, gathering, importances, optimizing, pieces, resources, results, search
from shared.evaluation.piecework import Scoring, Scorings, in_child
from shared.evaluation.plan import Piece, Plan, State
from shared.evaluation.resources import Evaluation
from shared.jobs import Record
from shared.storage import Blobs, Conflict, Unavailable

KIND = "evaluate"
AGAIN = 900.0
"""Seconds after which pieces that do not stand are sent again: a message may be lost, though hardly ever is."""
VAIN = 3
"""Times that pieces are sent again without one that came to an end, before the job has timed out."""
Send = Callable[[Scoring], Awaitable[None]]
Apply = Callable[[str, str, str], Awaitable[bool]]
"""Makes a policy a loop's, given the loop's id, the arguments that it had and the new ones; returns whether it is."""


class Evaluator:
    """Evaluations over one storage account.

    Args:
        blobs: hold the log, and all that is known of evaluations.
        send: gives a piece to others.
        apply: see `Apply`; for auto-optimization.
        apart: does the task of a piece in a process of its own.
        weigh: the same of that of weighing features.
    """

    def __init__(
        self, blobs: Blobs, send: Send, apply: Apply, apart: Apart = in_child, weigh: Apart = importances.in_child
    ) -> None:
        self._blobs = blobs
        self._send = send
        self._apply = apply
        self._weigh = weigh
        self._scorings = Scorings(blobs, apart)

    async def begin(self, loop_id: str, evaluation: Evaluation, plan: Plan, now: float) -> None:
        """Store an evaluation and its plan, and send the first pieces, as far as they can be sent.

        Raises:
            Conflict: the loop has an evaluation of this id.
        """
        await pieces.save(self._blobs, loop_id, plan, None)  # first: what is known to run has a plan
        try:
            await resources.put(self._blobs, loop_id, evaluation)
        except Conflict:
            await pieces.clear(self._blobs, loop_id, plan.job)
            raise
        await jobs.create(self._blobs, loop_id, _record(plan))
        with suppress(Conflict):  # somebody has looked at it already
            await self._send_due(loop_id, await pieces.state(self._blobs, loop_id, plan), now)

    async def look(self, loop_id: str, now: float) -> bool:
        """See that every evaluation of a loop goes on; returns whether there was one, so that another look is due."""
        for job_id in (held := await pieces.unfinished(self._blobs, loop_id)):
            with suppress(Conflict):  # another run does the same
                await self._look(loop_id, job_id, now)
        return bool(held)

    async def _look(self, loop_id: str, job_id: str, now: float) -> None:
        plan, _ = await pieces.load(self._blobs, loop_id, job_id)
        evaluation = None if plan is None else await self._evaluation(loop_id, plan)
        if plan is None or evaluation is None:
            if plan is None or now > plan.created + AGAIN:  # else it may be about to be stored
                await self._forget(loop_id, job_id)
            return
        record = await jobs.get(self._blobs, loop_id, job_id)
        if record is None:  # the call that planned it died before it said so
            await jobs.create(self._blobs, loop_id, record := _record(plan))
        if evaluation.status is not Status.RUNNING:
            return await pieces.clear(self._blobs, loop_id, job_id)
        if not record.running and record.status is not Status.SUCCEEDED:
            return await self.settle(loop_id, record)
        state = await self._decided(loop_id, plan)
        if state.complete():
            return await self._finish(loop_id, state, now)
        if not await self._send_due(loop_id, state, now):
            # Nobody else may do it: one at a time, as there is time.
            await self._scorings.do(loop_id, state, state.due()[0], now)

    async def _send_due(self, loop_id: str, state: State, now: float) -> bool:
        """Send what can be begun, unless that was done a while ago; returns whether it can be sent.

        Raises:
            Conflict: another run does the same.
        """
        plan, etag = await pieces.load(self._blobs, loop_id, state.plan.job)
        if plan is None:
            raise Conflict("the evaluation is over")
        if plan.sent and now < plan.sent + AGAIN:
            return True
        stood = len(state.stand)
        vain = 0 if stood > plan.stood or not plan.sent else plan.vain + 1
        if vain > VAIN:
            await self._time_out(loop_id, plan, now)
            return True
        try:
            await self._send_all(loop_id, plan, state.due())
        except Unavailable:
            return False
        sent = msgspec.structs.replace(plan, sent=now, stood=stood, vain=vain)
        await pieces.save(self._blobs, loop_id, sent, etag)
        return True

    async def _send_all(self, loop_id: str, plan: Plan, due: Iterable[Piece]) -> None:
        for piece in due:
            await self._send(Scoring(loop=loop_id, job=plan.job, group=piece.group, shard=piece.shard))

    async def take(self, message: Scoring, now: float) -> None:
        """Do a piece that was sent, and send or do what comes after it.

        Args:
            message: names the piece; one of an evaluation that is over is passed over.
            now: seconds since the epoch.

        Raises:
            Exception: it was not done, and is to be tried again.
        """
        loop_id, piece = message.loop, Piece(message.group, message.shard)
        plan, _ = await pieces.load(self._blobs, loop_id, message.job)
        record = await jobs.get(self._blobs, loop_id, message.job)
        if plan is None or record is None or not record.running:
            return
        state = await self._decided(loop_id, plan)
        if piece in state.due():
            await self._scorings.do(loop_id, state, piece, now)
            state = await self._decided(loop_id, plan)
        if piece not in state.stand:
            return  # it goes on from one that does not stand yet, by whose end it is sent; or it was canceled
        if state.complete():
            return await self._finish(loop_id, state, now)
        await self._send_all(loop_id, plan, state.after(piece))

    async def _decided(self, loop_id: str, plan: Plan) -> State:
        """How far a plan is, once every round is decided that can be."""
        state = await pieces.state(self._blobs, loop_id, plan)
        while state.ending():
            number = len(state.fields)
            names = search.survivors(number, await gathering.standing(self._blobs, loop_id, state))
            await pieces.keep_field(self._blobs, loop_id, plan, number, names)
            state = await pieces.state(self._blobs, loop_id, plan)
        return state

    async def _finish(self, loop_id: str, state: State, now: float) -> None:
        """Write the results of what is complete."""
        plan = state.plan
        evaluation = await self._evaluation(loop_id, plan)
        if evaluation is None or evaluation.status is not Status.RUNNING:
            return await pieces.clear(self._blobs, loop_id, plan.job)
        found, binned = await gathering.outcomes(self._blobs, loop_id, state)
        # A call of 2022 has jobs of their own for it. Nobody has called for what is read in all versions.
        if evaluation.api_version is not Version.V2022 or evaluation.evaluation_type is EvaluationType.AUTO:
            of_features = asked.of_evaluation(evaluation, plan)
            groups = await importances.grouped_of(self._blobs, loop_id, of_features, self._weigh)
            found = msgspec.structs.replace(found, importance=groups)
        await results.keep_bins(self._blobs, loop_id, plan.job, binned)
        best = results.optimal(found.outcomes)
        says = results.verdict(found, best, plan.mode)

        def succeeded(record: Record) -> Record:
            done = msgspec.structs.replace(record, done=record.pieces, error=None)
            return done.end(Status.SUCCEEDED, now, outcome=says)

        # First, so that one that was canceled changes nothing, and one that has can be canceled no more.
        record = await jobs.change(self._blobs, loop_id, plan.job, succeeded)
        if record is not None and record.status is not Status.SUCCEEDED:
            return await self.settle(loop_id, record)
        status = Status.SUCCEEDED
        if evaluation.evaluation_type is EvaluationType.AUTO:
            winner = optimizing.winner(found.outcomes)
            applied = winner is not None and await self._apply(loop_id, plan.online, winner.arguments or "")
            status = Status.OPTIMAL_POLICY_APPLIED if applied else Status.ONLINE_POLICY_RETAINED
            best = winner.name if winner is not None and applied else best

        def finished(held: Evaluation) -> Evaluation:
            content = msgspec.Raw(msgspec.json.encode(found))
            return msgspec.structs.replace(held, status=status, content=content, optimal_policy=best, description=says)

        if await self._change(loop_id, plan, finished) is None:  # it was deleted meanwhile
            await results.delete_bins(self._blobs, loop_id, plan.job)
        await pieces.clear(self._blobs, loop_id, plan.job)

    async def _time_out(self, loop_id: str, plan: Plan, now: float) -> None:
        def timed_out(record: Record) -> Record:
            error = f"Pieces were sent {VAIN + 1} times, and none came to an end."
            return record.end(Status.TIMEOUT, now, error=error)

        record = await jobs.change(self._blobs, loop_id, plan.job, timed_out)
        if record is not None:
            await self.settle(loop_id, record)

    async def settle(self, loop_id: str, record: Record) -> None:
        """Tell an evaluation that its job has come to an end without results, and take away what was done for it."""
        plan, _ = await pieces.load(self._blobs, loop_id, record.id)
        if plan is None:
            return

        def ended(held: Evaluation) -> Evaluation:
            return msgspec.structs.replace(held, status=record.status, description=record.error or record.outcome)

        await self._change(loop_id, plan, ended)
        await self._forget(loop_id, record.id)

    async def delete(self, loop_id: str, evaluation: Evaluation, now: float) -> None:
        """Delete an evaluation and all that is known of it, also while it runs."""

        def canceled(record: Record) -> Record:
            return record.end(Status.CANCELED, now, outcome="Its evaluation was deleted.")

        if jobs.ID.fullmatch(evaluation.job_id):
            await jobs.change(self._blobs, loop_id, evaluation.job_id, canceled)
        await resources.delete(self._blobs, loop_id, Evaluation, evaluation.id)
        await self._forget(loop_id, evaluation.job_id)

    async def _forget(self, loop_id: str, job_id: str) -> None:
        """Take away bins and pieces of a job; what is left by whoever dies of it, the next look finds by the pieces."""
        await results.delete_bins(self._blobs, loop_id, job_id)
        await pieces.clear(self._blobs, loop_id, job_id)

    async def _evaluation(self, loop_id: str, plan: Plan) -> Evaluation | None:
        """The evaluation that a plan is for, unless it is gone."""
        held = await resources.get(self._blobs, loop_id, Evaluation, plan.evaluation)
        return held if held is not None and held.job_id == plan.job else None

    async def _change(self, loop_id: str, plan: Plan, changed: Callable[[Evaluation], Evaluation]) -> Evaluation | None:
        """Change the evaluation that a plan is for, as long as it runs; returns it, or None where it is gone."""

        def of_plan(held: Evaluation) -> Evaluation:
            return changed(held) if held.job_id == plan.job and held.status is Status.RUNNING else held

        return await resources.change(self._blobs, loop_id, Evaluation, plan.evaluation, of_plan)


def _record(plan: Plan) -> Record:
    """The job of a plan, as it begins."""
    cause = f"evaluation {plan.evaluation}"
    return Record(id=plan.job, kind=KIND, cause=cause, created=plan.created, pieces=plan.pieces)
