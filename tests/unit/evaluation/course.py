"""Plays evaluations over storage in memory: messages as a queue would hand them out, and ends in the middle."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.news import lines
from shared.contract.configurations import PolicyContract
from shared.contract.evaluations import EvaluationType, Status
from shared.contract.versions import Version
from shared.evaluation import field as fields
from shared.evaluation import resources
from shared.evaluation.evaluator import Evaluator
from shared.evaluation.piecework import Scoring
from shared.evaluation.plan import Plan
from shared.evaluation.resources import Evaluation
from shared.evaluation.scoring import score
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.buckets import Waits
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import NOTHING
from shared.log.joined import Window
from shared.loops import policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.storage.memory import MemoryBlobs

LOOP = "0" * 32
T0 = 1_700_002_800
CUSTOM = PolicyContract("mine", "--cb_explore_adf --epsilon 0.1 --cb_type mtr -l 0.1 -q Fj")


class Killed(Exception):
    """The instance ended in the middle of a storage call."""


class DyingBlobs(MemoryBlobs):
    """Blobs whose nth call from now on ends the instance, before or after it took effect; 0 for none."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.dies = 0
        self.after = False

    async def _call(self, name: str, *given: Any) -> Any:
        self.calls += 1
        dies = self.calls == self.dies
        if dies and not self.after:
            raise Killed
        done = await getattr(super(), name)(*given)
        if dies:
            raise Killed
        return done

    async def get(self, path: str) -> Any:
        return await self._call("get", path)

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: Any = None) -> Any:
        return await self._call("put", path, data, etag, metadata)

    async def names(self, prefix: str) -> Any:
        return await self._call("names", prefix)

    async def folders(self, prefix: str) -> Any:
        return await self._call("folders", prefix)

    async def delete(self, path: str) -> Any:
        return await self._call("delete", path)


async def at_once(task: bytes) -> bytes:
    """Do the task of a piece beside the event loop."""
    return await asyncio.to_thread(score, task)


@dataclass
class Course:
    """An account with one loop, its evaluator and the messages that were sent.

    Attributes:
        applied: what auto-optimization made the loop's policy, if anything.
    """

    blobs: DyingBlobs = field(default_factory=DyingBlobs)
    messages: list[Scoring] = field(default_factory=list)
    applied: list[tuple[str, str, str]] = field(default_factory=list)
    now: float = T0 + 7200.0

    def __post_init__(self) -> None:
        async def send(message: Scoring) -> None:
            self.messages.append(message)

        async def apply(loop_id: str, before: str, arguments: str) -> bool:
            self.applied.append((loop_id, before, arguments))
            return True

        self.send, self.apply = send, apply
        self.evaluator = Evaluator(self.blobs, send, apply, at_once)
        self.loop = Loop(
            LOOP,
            ServiceConfiguration(model_retrain_days=0),
            policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]),
            Waits(((0, 600.0),)),
        )

    async def log(self, counts: Sequence[int], seed: int = 1) -> None:
        """Give the loop windows of so many decisions of the world of articles."""
        for n, count in enumerate(counts):
            window = Window(T0 + 300 * n, T0 + 300 * n + 300)
            await joined.write(self.blobs, LOOP, window, joined.DSJSON, lines(count, seed + n, window.start))
        await checkpoints.save(self.blobs, LOOP, Checkpoint(watermark=T0 + 3600), None)

    def evaluation(self, **changed: Any) -> Evaluation:
        """What was asked for."""
        made = Evaluation(
            id="e1",
            name="day",
            start=float(T0),
            end=T0 + 3600.0,
            created=self.now,
            status=Status.RUNNING,
            api_version=Version.V2022,
            job_id=fields.job_id(LOOP, "e1", self.now),
            evaluation_type=EvaluationType.MANUAL,
            policies=[CUSTOM],
        )
        return Evaluation(**{name: changed.get(name, getattr(made, name)) for name in made.__struct_fields__})

    async def plan(self, evaluation: Evaluation) -> Plan:
        held = (await joined.sizes(self.blobs, LOOP, T0, T0 + 3600))[joined.DSJSON]
        events = await fields.sample(self.blobs, self.loop, held, NOTHING)
        return fields.plan(self.loop, evaluation, held, events)

    async def begin(self, **changed: Any) -> Evaluation:
        """Ask for an evaluation."""
        evaluation = self.evaluation(**changed)
        await self.evaluator.begin(LOOP, evaluation, await self.plan(evaluation), self.now)
        return evaluation

    async def deliver(self, chance: random.Random | None = None) -> None:
        """Do one message; it is given again where it was not done."""
        n = chance.randrange(len(self.messages)) if chance else 0
        message = self.messages.pop(n)
        try:
            await self.evaluator.take(message, self.now)
        except Killed:
            self.messages.append(message)
            raise

    async def finish(self) -> Evaluation:
        """Do all messages and those that come of them; returns what came of it."""
        while self.messages:
            await self.deliver()
        held = await resources.get(self.blobs, LOOP, Evaluation, "e1")
        assert held is not None
        return held

    async def left(self) -> list[str]:
        """What is stored of evaluations but their records."""
        held = await self.blobs.names(f"loops/{LOOP}/evaluat")
        return [path.removeprefix(f"loops/{LOOP}/") for path in held if not path.endswith(".json")]


def configured(loop: Loop, **changed: Any) -> Loop:
    return replace(loop, configuration=replace(loop.configuration, **changed))
