"""Auto-optimization from the hourly sweep to the policy that it takes over, or does not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bench.news import lines
from shared.adoption import Adoption
from shared.app import App
from shared.config import Config
from shared.contract.evaluations import EvaluationType, PolicySource, Status
from shared.evaluation import optimizing, resources
from shared.evaluation.resources import Evaluation
from shared.log import activity, joined
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.log.joined import Window
from shared.loops import policy
from shared.loops.loops import DEFAULT
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.loops.service import DAY
from shared.loops.settings import Loop
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.unit.evaluation.course import at_once

T0 = 1_700_002_800
BETTER = "--cb_explore_adf --epsilon 0.1 --cb_type mtr -l 0.5"


class Made:
    """An app over storage in memory, with a loop made long ago."""

    def __init__(self) -> None:
        self.now = float(T0)
        self.blobs, self.tables = MemoryBlobs(), MemoryTables(lambda: self.now)
        self.app = App(Config("", "k"), self.tables, self.blobs)
        self.app.clock.local = lambda: self.now
        self.app.evaluator._scorings._apart = at_once

    async def loop(self, **changed: Any) -> Loop:
        """The loop, with changed settings."""

        def change(held: Loop) -> Loop:
            return replace(held, configuration=replace(held.configuration, **changed))

        return await self.app.loops.change(DEFAULT, change)

    async def log(self, *counts: int) -> None:
        loop = await self.app.loops.named(DEFAULT)
        for n, count in enumerate(counts):
            window = Window(T0 + 300 * n, T0 + 300 * n + 300)
            await joined.write(self.blobs, loop.id, window, joined.DSJSON, lines(count, n, window.start))
        await checkpoints.save(self.blobs, loop.id, Checkpoint(watermark=T0 + 3600), None)

    async def optimize(self) -> None:
        loop = await self.app.loops.named(DEFAULT)
        await self.app.optimization.run(await self.app.loops.by_id(loop.id), self.now)

    async def runs(self) -> list[Evaluation]:
        loop = await self.app.loops.named(DEFAULT)
        return await resources.newest_first(self.blobs, loop.id, Evaluation)

    async def finish(self) -> Evaluation:
        """Have the train timer do what there is to be done; returns the latest run."""
        for _ in range(40):
            await self.app.train_due()
            self.now += 61
        return (await self.runs())[0]


@pytest.fixture
async def made() -> Made:
    one = Made()
    await one.loop(auto_optimization_start=T0 + 15 * DAY, auto_optimization_frequency=28 * DAY)
    return one


async def test_runs_come_about_when_they_are_due_and_there_is_a_log(made: Made) -> None:
    await made.optimize()
    made.now = T0 + 15 * DAY
    await made.optimize()
    assert await made.runs() == [], "there is nothing to look at"
    await made.log(60, 40)
    await made.optimize()
    (run,) = await made.runs()
    assert (run.evaluation_type, run.status, run.optimize) == (EvaluationType.AUTO, Status.RUNNING, True)
    assert (run.start, run.end) == (T0, T0 + 600)
    assert (run.id, run.name) == ("auto-2023-11-29T23:00:00Z", "Auto-optimization of 2023-11-29T23:00:00Z")
    assert [note.after for note in await activity.untrained(made.tables)] == [0.0]

    made.now += 3600
    await made.optimize()
    assert len(await made.runs()) == 1, "once"
    assert (await made.finish()).status in (Status.ONLINE_POLICY_RETAINED, Status.OPTIMAL_POLICY_APPLIED)
    made.now = T0 + 43 * DAY
    await made.optimize()
    assert (await made.runs())[0].id == "auto-2023-12-27T23:00:00Z"


@pytest.mark.parametrize("off", ["by setting", "by slots", "by date", "by mode"])
async def test_there_are_loops_without(made: Made, off: str) -> None:
    await made.log(60)
    made.now = T0 + 15 * DAY
    if off == "by date":
        made.now -= 1
    elif off == "by mode":
        await made.loop(learning_mode="Apprentice")
    else:
        await made.loop(is_auto_optimization_enabled=False)
    if off == "by slots":
        slots = policy.read(DEFAULT_ARGUMENTS[Problem.MULTI_SLOT])
        loop = await made.app.loops.change(DEFAULT, lambda held: replace(held, policy=slots))
        enabled = replace(loop, configuration=replace(loop.configuration, is_auto_optimization_enabled=True))
        await made.app.optimization.run(enabled, made.now)
    await made.optimize()

    assert await made.runs() == []


async def test_one_that_was_begun_by_who_died_of_it_is_not_begun_again(made: Made) -> None:
    await made.log(60)
    made.now = T0 + 15 * DAY
    await made.optimize()
    loop = await made.app.loops.named(DEFAULT)
    await made.blobs.delete(f"loops/{loop.id}/optimizing.json")

    await made.optimize()

    assert len(await made.runs()) == 1
    assert await made.blobs.get(f"loops/{loop.id}/optimizing.json") is not None


async def test_past_runs_are_kept_as_many_as_there_were(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizing, "KEPT", 2)
    await made.log(30)
    for n in range(4):
        made.now = T0 + (15 + 28 * n) * DAY
        await made.optimize()

    assert len(await made.runs()) == 2


async def test_the_sweep_looks_and_wakes_who_must_go_on(made: Made) -> None:
    await made.log(60)
    made.now = (T0 + 16 * DAY) // DAY * DAY + 60.0  # a silent loop is looked at as a day begins
    loop = await made.app.loops.named(DEFAULT)
    await activity.put_off_sweep(made.tables, made.now)

    await made.app.train_due()

    assert len(await made.runs()) == 1
    for note in await activity.untrained(made.tables):
        await activity.trained(made.tables, note)
    await made.optimize()
    assert [note.loop_id for note in await activity.untrained(made.tables)] == [loop.id], "a lost note comes back"


@pytest.mark.parametrize("changed", ["nothing", "the policy", "the setting", "the loop"])
async def test_a_policy_is_taken_over_where_nobody_has_another(
    made: Made, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    loop = await made.app.loops.named(DEFAULT)
    before = loop.policy.arguments
    if changed == "the policy":
        other = policy.read("--cb_explore_adf --epsilon 0.3")
        await made.app.loops.change(DEFAULT, lambda held: replace(held, policy=other))
    if changed == "the setting":
        await made.loop(is_auto_optimization_enabled=False)
    adopt = Adoption(made.app.loops, asyncio.Lock())

    done = await adopt("f" * 32 if changed == "the loop" else loop.id, before, BETTER)

    held = await made.app.loops.by_id(loop.id)
    assert done is (changed == "nothing")
    assert (held.policy.arguments == BETTER) is done
    if done:
        assert held.configuration.exploration_percentage == pytest.approx(0.1)
        assert await adopt(loop.id, before, BETTER), "whoever died before they could say so says it again"


async def test_a_policy_that_vw_refuses_is_none(made: Made) -> None:
    loop = await made.app.loops.named(DEFAULT)

    assert not await Adoption(made.app.loops, asyncio.Lock())(loop.id, loop.policy.arguments, "--cb_explore_adf -f x")


async def test_what_is_applied_is_what_serves_from_then_on(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    await made.log(60, 40)
    made.now = T0 + 15 * DAY
    monkeypatch.setattr(
        "shared.evaluation.optimizing.winner",
        lambda outcomes: next(one for one in outcomes if one.source is PolicySource.FOUND),
    )
    await made.optimize()

    run = await made.finish()

    assert run.status is Status.OPTIMAL_POLICY_APPLIED
    loop = await made.app.loops.named(DEFAULT)
    assert policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]) != loop.policy
    assert [name for name in made.app.counters.snapshot() if name.endswith(".failed")] == []
