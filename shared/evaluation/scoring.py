"""Turns a stretch of the log and policies into the policies' scores on it: one piece of an evaluation.

What a piece takes is one message, so that it can be computed in a process of its own. A policy replays the log: of each
event it says how probable it would have drawn each action, and then learns from what was drawn (docs/adr/0031).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing

import msgspec

from shared.contract.evaluations import PolicySource
from shared.evaluation import decisions as actions
from shared.evaluation import namespaces, scores, slots
from shared.evaluation.decisions import Decisions, Shares
from shared.evaluation.judge import Judge, Told, pack
from shared.evaluation.namespaces import Namespaces
from shared.evaluation.scores import Numbers
from shared.learning.excerpt import Excerpt
from shared.learning.model import Learner


class Candidate(msgspec.Struct, frozen=True, array_like=True):
    """A policy that is scored.

    Attributes:
        name: by which its scores are told.
        source: what it is: the policies that decided, of the baseline and of a draw follow from the log alone.
        arguments, resuming: what VW is told of any other, to make a new model and to go on from one; see `Policy`.
        model: what it has learned of the log before, or None for nothing.
    """

    name: str
    source: PolicySource
    arguments: str = ""
    resuming: str = ""
    model: bytes | None = None


class Task(msgspec.Struct, frozen=True, array_like=True):
    """All that it takes to score policies on a stretch of the log.

    Attributes:
        excerpt: the stretch.
        candidates: the policies, each of another name.
        reward_range: the lowest and highest reward.
        judged: whether a model of rewards is asked as well; where not, it expects nothing, and a doubly robust estimate
            is IPS.
        judge: what that model has learned of the log before, or None for nothing.
        expected: what it has made of the stretch already, see `Scored.expected`: then it is not asked again. That saves
            about half of the time of a single policy.
        keep: whether models come back, to go on from.
        slots: see `Plan.slots`.
    """

    excerpt: Excerpt
    candidates: Sequence[Candidate]
    reward_range: tuple[float, float]
    judged: bool = True
    judge: bytes | None = None
    expected: bytes | None = None
    keep: bool = True
    slots: Sequence[str] = ()


class Scored(msgspec.Struct, frozen=True, array_like=True):
    """What came of it.

    Attributes:
        scores: of each policy by its name, packed; see `scores.unpack`.
        models: of each policy that has one, if they are kept: what it has learned.
        judge: what the model of rewards has learned, if it was asked and models are kept.
        expected: what that expects of each action, for other policies on the same stretch; None where it was not asked.
        events: how many there were for learning.
        refused: how many of them have unsound labels: they are in no scores.
        undecided: of how many events each policy could make nothing: there it is taken to draw from all actions alike.
        namespaces: that the features of some of the events were in.
    """

    scores: dict[str, bytes]
    models: dict[str, bytes]
    judge: bytes | None
    expected: bytes | None
    events: int
    refused: int
    undecided: dict[str, int]
    namespaces: Namespaces


def score(message: bytes) -> bytes:
    """What comes of a `Task`, as the message of a `Scored`.

    Raises:
        ModelError: VW does not take a model or its arguments.
        StorageError: a window is damaged.
    """
    task = msgspec.msgpack.decode(message, type=Task)
    events = refused = 0
    expected, sample = list[Numbers](), list[bytes]()
    with ExitStack() as opened:
        asked = task.judged and task.expected is None
        judge = opened.enter_context(closing(Judge(task.judge, task.reward_range))) if asked else None
        told = judge or Told(task.expected)
        replays = [opened.enter_context(closing(_Replay(candidate))) for candidate in task.candidates]
        for lines in task.excerpt.lessons():
            decisions = slots.read(lines, task.slots) if task.excerpt.multi_slot else actions.read(lines)
            expects = told.expect(decisions)
            for replay in replays:
                replay.go_on(decisions, expects)
            if judge:
                expected.append(expects)
            events += len(lines)
            refused += len(lines) - len(decisions.lines)
            sample += decisions.lines[: namespaces.ENOUGH - len(sample)]
        scored = Scored(
            {replay.name: replay.scores() for replay in replays},
            {replay.name: replay.learner.save() for replay in replays if replay.learner and task.keep},
            judge.model() if judge and task.keep else None,
            pack(expected) if judge else None,
            events,
            refused,
            {replay.name: replay.undecided for replay in replays},
            namespaces.of_lines(sample),
        )
    return msgspec.msgpack.encode(scored)


class _Replay:
    """A policy on its way through the log."""

    def __init__(self, candidate: Candidate) -> None:
        self.name = candidate.name
        self.undecided = 0
        self.learner: Learner | None = None
        self._source = candidate.source
        self._parts: list[scores.Scores] = []
        if candidate.source in (PolicySource.CUSTOM, PolicySource.FOUND):
            self.learner = Learner(candidate.arguments, candidate.model, candidate.resuming)

    def go_on(self, decisions: Decisions, expected: Numbers) -> None:
        """Decide, then learn, what follows."""
        online = self._source is PolicySource.ONLINE
        self._parts.append(decisions.scores(self._shares(decisions), expected, online))

    def scores(self) -> bytes:
        """What came of all of it."""
        return scores.pack(scores.join(self._parts))

    def close(self) -> None:
        """Free VW's memory."""
        if self.learner:
            self.learner.close()

    def _shares(self, decisions: Decisions) -> Shares:
        if self._source is PolicySource.ONLINE:
            return decisions.shares
        if self._source is PolicySource.BASELINE:
            return decisions.baseline
        if self.learner is None:
            return decisions.uniform
        shares, undecided = decisions.replay(self.learner)
        self.undecided += undecided
        return shares
