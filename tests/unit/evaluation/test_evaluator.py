"""Evaluations from what was asked for to results, whoever does their pieces and whoever ends in the middle of one."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest

from bench.news import lines
from shared import jobs
from shared.child import ChildError
from shared.contract.configurations import PolicyContract
from shared.contract.evaluations import EvaluationType, PolicySource, Status
from shared.contract.versions import Version
from shared.evaluation import asked, evaluator, importances, pieces, piecework, plan, resources, results, search
from shared.evaluation.evaluator import Evaluator
from shared.evaluation.importance import Importance, Task, Weighed
from shared.evaluation.resources import Evaluation
from shared.evaluation.results import ALL, Results
from shared.learning.model import ModelError
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.checkpoint import Checkpoint
from shared.log.joined import Window
from shared.loops import policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.storage import Conflict, StorageError, Unavailable
from tests.faults.gate import Gate, gated_blobs
from tests.unit.evaluation.course import LOOP, T0, Course, DyingBlobs, Killed, at_once
from tests.unit.evaluation.logged import slot_lines

COUNTS = (150, 250, 100)
RUNS = 12
"""In which somebody is killed: each takes seconds."""


@pytest.fixture(autouse=True)
def small_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a search: eight policies, of which two are found."""
    inner = search.first
    monkeypatch.setattr(search, "first", lambda arguments, namespaces: inner(arguments, namespaces)[:64:8])
    monkeypatch.setattr(search, "FOUND", 2)


@pytest.fixture
async def course() -> Course:
    made = Course()
    await made.log(COUNTS)
    return made


def found(evaluation: Evaluation) -> Results:
    held = results.of(evaluation)
    assert held is not None
    return held


async def record(course: Course) -> jobs.Record:
    (job_id,) = await jobs.newest(course.blobs, LOOP)
    held = await jobs.get(course.blobs, LOOP, job_id)
    assert held is not None
    return held


async def test_policies_are_compared(course: Course) -> None:
    await course.begin()
    assert (await record(course)).status is Status.RUNNING

    evaluation = await course.finish()

    outcomes = {one.name: one for one in found(evaluation).outcomes}
    assert [(one.name, one.source) for one in outcomes.values()] == [
        ("online", PolicySource.ONLINE),
        ("baseline1", PolicySource.BASELINE),
        ("BaselineRand", PolicySource.RANDOM),
        ("mine", PolicySource.CUSTOM),
    ]
    rewards = [b'"_label_cost":-1' in line for n, count in enumerate(COUNTS) for line in lines(count, 1 + n, T0)]
    online = outcomes["online"].slots[0]
    assert (online.number, online.total.events, online.total.matched) == (ALL, 500, 500)
    assert online.total.mean == pytest.approx(sum(rewards) / 500)
    assert online.whole == online.judged
    assert online.whole.snips.value == pytest.approx(sum(rewards) / 500)
    assert outcomes["BaselineRand"].slots[0].total == online.total, "the log was drawn from all alike"
    assert outcomes["mine"].slots[0].total.weights == pytest.approx(500, rel=0.3)
    assert outcomes["baseline1"].slots[0].total.matched < 100
    binned = await results.read_bins(course.blobs, LOOP, evaluation.job_id)
    assert binned["online"][str(ALL)].events == list(COUNTS)
    assert evaluation.status is Status.SUCCEEDED
    assert evaluation.optimal_policy in ("online", "mine")
    assert evaluation.description
    job = await record(course)
    assert (job.status, job.kind, job.pieces, job.done) == (Status.SUCCEEDED, "evaluate", 2, 2)
    assert (job.events, job.estimated, job.outcome) == (500, 500, evaluation.description)
    assert await course.left() == [f"evaluations/{evaluation.job_id}.bins"]
    assert not await course.evaluator.look(LOOP, course.now)


async def test_what_is_found_is_judged_by_what_it_was_not_chosen_by(course: Course) -> None:
    await course.begin(optimize=True)
    held, _ = await pieces.load(course.blobs, LOOP, course.evaluation().job_id)
    assert held is not None

    evaluation = await course.finish()

    outcomes = found(evaluation).outcomes
    chosen = [one for one in outcomes if one.source is PolicySource.FOUND]
    assert 0 < len(chosen) < sum(map(len, held.groups[held.searched :]))
    assert found(evaluation).judged_from is not None
    for one in outcomes:
        (slot,) = one.slots
        assert slot.whole.events == slot.total.events == 500
        assert slot.judged.events == pytest.approx(500 * (1 - plan.SEARCHED), abs=15)
    assert all(one.arguments for one in chosen)
    job = await record(course)
    assert job.done == job.pieces == held.pieces


@pytest.mark.parametrize("optimize", [False, True])
async def test_shards_make_no_difference(course: Course, monkeypatch: pytest.MonkeyPatch, optimize: bool) -> None:
    await course.begin(optimize=optimize)
    whole = found(await course.finish())
    monkeypatch.setattr(plan, "SHARD_BYTES", 3000)
    other = Course()
    await other.log(COUNTS)
    await other.begin(optimize=optimize)
    held, _ = await pieces.load(other.blobs, LOOP, other.evaluation().job_id)
    assert held is not None
    assert len(held.ends) >= 5

    cut = found(await other.finish())

    assert [one.name for one in cut.outcomes] == [one.name for one in whole.outcomes]
    for ours, theirs in zip(cut.outcomes, whole.outcomes, strict=True):
        assert ours.slots[0].total.events == theirs.slots[0].total.events
        assert ours.slots[0].total.weighted == pytest.approx(theirs.slots[0].total.weighted, rel=1e-6)
        assert ours.slots[0].whole.dr.value == pytest.approx(theirs.slots[0].whole.dr.value, rel=1e-4)


async def test_slots_have_results_of_their_own() -> None:
    course = Course()
    course.loop = replace(course.loop, policy=policy.read(DEFAULT_ARGUMENTS[Problem.MULTI_SLOT]))
    window = Window(T0, T0 + 300)
    await joined.write(course.blobs, LOOP, window, joined.DSJSON, slot_lines(120))
    await checkpoints.save(course.blobs, LOOP, Checkpoint(watermark=T0 + 3600), None)
    mine = PolicyContract("mine", "--ccb_explore_adf --epsilon 0.2 --cb_type mtr -l 0.1 -q ::")
    await course.begin(policies=[mine])

    held = found(await course.finish())

    assert held.slots == ["top", "side", "end"]
    for one in held.outcomes:
        assert [slot.number for slot in one.slots] == [ALL, 0, 1, 2]
        together, *apart = one.slots
        assert together.total.events == sum(slot.total.events for slot in apart)
        assert [slot.total.events for slot in apart[:2]] == [120, 120]
        assert together.whole.events == 120, "events, not slots"
    assert held.outcomes[0].slots[1].total.weights == 120, "what decided has its own probabilities"


async def straight() -> tuple[Evaluation, int]:
    course = Course()
    await course.log((60, 40))
    course.blobs.calls = 0
    await course.begin(optimize=True)
    return await course.finish(), course.blobs.calls


async def test_whoever_is_killed_wherever_the_results_are_the_same() -> None:
    wanted, calls = await straight()
    chance = random.Random(1)
    for n in chance.sample(range(1, calls * 3 // 4), RUNS):  # in another order there may be fewer
        course = Course()
        await course.log((60, 40))
        course.blobs.calls, course.blobs.dies, course.blobs.after = 0, n, chance.random() < 0.5
        with suppress(Killed):
            await course.begin(optimize=True)
        goes_on = True
        while goes_on:
            with suppress(Killed):
                while course.messages:
                    await course.deliver(chance)
                goes_on = await course.evaluator.look(LOOP, course.now)
            course.now += evaluator.AGAIN
        assert course.blobs.calls >= n
        course.blobs.dies = 0
        held = await resources.get(course.blobs, LOOP, Evaluation, "e1")
        if held is None:  # it ended in the very first calls: whoever asked was told, and nothing is left
            assert n <= 3
            assert await course.left() == []
            continue
        assert (held.content, held.status) == (wanted.content, wanted.status)
        assert held.optimal_policy == wanted.optimal_policy
        assert await course.left() == [f"evaluations/{wanted.job_id}.bins"], n
        assert (await record(course)).status is Status.SUCCEEDED


async def test_every_call_of_storage_has_a_name_to_be_ended_at() -> None:
    told = list[tuple[str, str]]()
    gate = Gate([], lambda what, text: told.append((what, text)))
    course = Course()
    await course.log((60, 40))
    gated = Course(blobs=cast(DyingBlobs, gated_blobs(course.blobs, gate, random.random)))

    evaluation = await gated.begin(optimize=True)
    await gated.finish()
    await gated.evaluator.delete(LOOP, evaluation, gated.now)

    assert told == []


async def test_a_call_that_died_before_it_was_known_leaves_nothing(course: Course) -> None:
    evaluation = course.evaluation()
    await pieces.save(course.blobs, LOOP, await course.plan(evaluation), None)

    assert await course.evaluator.look(LOOP, course.now), "it may be about to be stored"
    assert await course.evaluator.look(LOOP, course.now + evaluator.AGAIN + 1)
    assert await course.left() == []
    assert not await course.evaluator.look(LOOP, course.now)
    assert course.messages == []


async def test_an_id_is_in_use_once(course: Course) -> None:
    await course.begin()
    other = course.evaluation(job_id="1700002800000-0123456789abcdef")

    with pytest.raises(Conflict):
        await course.evaluator.begin(LOOP, other, await course.plan(other), course.now)

    assert (await course.finish()).job_id != other.job_id
    assert await pieces.unfinished(course.blobs, LOOP) == []


@pytest.mark.parametrize("done", [0, 1, 3, 6])
async def test_one_that_is_deleted_leaves_nothing(course: Course, done: int) -> None:
    evaluation = await course.begin(optimize=True)
    for _ in range(done):
        await course.deliver()
    waiting = list(course.messages)

    await course.evaluator.delete(LOOP, evaluation, course.now)

    assert (await record(course)).status is Status.CANCELED
    for message in waiting:
        await course.evaluator.take(message, course.now)
    assert await course.left() == []
    assert await resources.get(course.blobs, LOOP, Evaluation, "e1") is None
    assert not await course.evaluator.look(LOOP, course.now)


async def cancel(course: Course) -> jobs.Record:
    def canceled(held: jobs.Record) -> jobs.Record:
        return held.end(Status.CANCELED, course.now, outcome="It was canceled by a call.")

    ended = await jobs.change(course.blobs, LOOP, (await record(course)).id, canceled)
    assert ended is not None
    return ended


async def test_one_that_is_canceled_amid_a_piece_has_no_results(course: Course) -> None:
    await course.begin()

    async def apart(task: bytes) -> bytes:
        await cancel(course)
        return await inner(task)

    inner, course.evaluator._scorings._apart = course.evaluator._scorings._apart, apart
    await course.deliver()
    assert course.messages == []
    assert await course.evaluator.look(LOOP, course.now) is False, "what was done is taken away at once"
    await course.evaluator.settle(LOOP, await record(course))

    assert await course.left() == []


async def test_an_evaluation_is_told_that_its_job_was_canceled(course: Course) -> None:
    await course.begin()
    await course.evaluator.settle(LOOP, await cancel(course))

    held = await course.finish()

    assert (held.status, held.description) == (Status.CANCELED, "It was canceled by a call.")
    assert results.of(held) is None
    assert await course.left() == []


async def test_one_canceled_where_nobody_could_say_so_is_told_by_the_next_look(course: Course) -> None:
    await course.begin()
    await cancel(course)

    assert await course.evaluator.look(LOOP, course.now)

    assert (await course.finish()).status is Status.CANCELED
    assert not await course.evaluator.look(LOOP, course.now)


async def test_pieces_are_sent_again_and_not_for_ever(course: Course) -> None:
    await course.begin()
    first = len(course.messages)
    await course.evaluator.look(LOOP, course.now + evaluator.AGAIN - 1)
    assert len(course.messages) == first == 1, "others may be at it"
    for n in range(evaluator.VAIN):
        course.now += evaluator.AGAIN
        await course.evaluator.look(LOOP, course.now)
        assert len(course.messages) == first + n + 1
    course.messages.clear()
    course.now += evaluator.AGAIN

    assert await course.evaluator.look(LOOP, course.now)

    held = await course.finish()
    assert held.status is Status.TIMEOUT
    assert held.description is not None and "none came to an end" in held.description
    assert await course.left() == []


async def test_a_piece_that_came_to_an_end_begins_the_count_again(course: Course) -> None:
    await course.begin()
    for _ in range(evaluator.VAIN):
        course.now += evaluator.AGAIN
        await course.evaluator.look(LOOP, course.now)
    await course.deliver()
    course.messages.clear()
    course.now += evaluator.AGAIN
    await course.evaluator.look(LOOP, course.now)

    assert (await course.finish()).status is Status.SUCCEEDED


async def test_without_a_queue_each_look_does_a_piece(course: Course) -> None:
    async def nowhere(message: object) -> None:
        raise Unavailable("there is no queue")

    course.evaluator._send = nowhere
    await course.begin()
    looks = 0
    while await course.evaluator.look(LOOP, course.now):
        looks += 1

    held = await course.finish()
    assert held.status is Status.SUCCEEDED
    assert looks == 3, "two pieces, then the results"


@pytest.mark.parametrize("fault", [ModelError("no"), StorageError("damaged"), TimeoutError()])
async def test_pieces_that_fail_fail_the_evaluation(course: Course, fault: Exception) -> None:
    async def apart(task: bytes) -> bytes:
        raise fault

    await course.begin()
    course.evaluator._scorings._apart = apart
    message = course.messages[0]
    for _ in range(jobs.FAILURES):
        with pytest.raises(type(fault)):
            await course.evaluator.take(message, course.now)
    await course.evaluator.take(message, course.now)  # nothing more is done for it
    assert (await record(course)).status is Status.FAILED

    await course.evaluator.look(LOOP, course.now)

    held = await course.finish()
    assert held.status is Status.FAILED
    assert held.description == f"Piece 1.1: {fault or 'TimeoutError'}"
    assert await course.left() == []


async def test_storage_that_does_not_answer_is_no_failure(course: Course) -> None:
    async def apart(task: bytes) -> bytes:
        raise Unavailable("no answer")

    await course.begin()
    course.evaluator._scorings._apart, inner = apart, course.evaluator._scorings._apart
    with pytest.raises(Unavailable):
        await course.evaluator.take(course.messages[0], course.now)
    assert (await record(course)).failures == 0
    course.evaluator._scorings._apart = inner

    assert (await course.finish()).status is Status.SUCCEEDED


async def test_a_window_that_is_gone_fails_it(course: Course) -> None:
    await course.begin()
    for path in await course.blobs.names(f"loops/{LOOP}/joined/"):
        await course.blobs.delete(path)

    with pytest.raises(StorageError, match="is gone"):
        await course.evaluator.take(course.messages[0], course.now)


@pytest.mark.parametrize("better", [True, False])
async def test_auto_optimization_takes_over_what_is_better(
    course: Course, monkeypatch: pytest.MonkeyPatch, better: bool
) -> None:
    monkeypatch.setattr(
        "shared.evaluation.optimizing.winner",
        lambda outcomes: next((one for one in outcomes if one.source is PolicySource.FOUND), None) if better else None,
    )
    await course.begin(optimize=True, evaluation_type=EvaluationType.AUTO)

    held = await course.finish()

    if better:
        chosen = next(one for one in found(held).outcomes if one.source is PolicySource.FOUND)
        assert held.status is Status.OPTIMAL_POLICY_APPLIED
        assert held.optimal_policy == chosen.name
        assert course.applied == [(LOOP, course.loop.policy.arguments, chosen.arguments)]
    else:
        assert held.status is Status.ONLINE_POLICY_RETAINED
        assert course.applied == []


async def test_a_round_is_decided_by_who_was_seen_up_to_its_end(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, int]] = []
    inner = search.survivors

    def survivors(number: int, standing: object) -> list[str]:
        seen.append({name: one.events for name, one in standing.items()})  # type: ignore[attr-defined]
        return list(inner(number, standing))  # type: ignore[arg-type]

    monkeypatch.setattr("shared.evaluation.search.survivors", survivors)
    await course.begin(optimize=True)
    await course.finish()

    counts = [set(one.values()) for one in seen]
    assert all(len(of_round) == 1 for of_round in counts), "all by the same events"
    events = [of_round.pop() for of_round in counts]
    assert events == sorted(events)
    assert events[-1] <= 500 * plan.SEARCHED + 5
    assert [len(one) for one in seen] == sorted((len(one) for one in seen), reverse=True)


@pytest.mark.parametrize("version", [Version.V1_0, Version.V2022])
async def test_before_2022_the_features_are_weighed_too(course: Course, version: Version) -> None:
    weighed: list[Task] = []

    async def weigh(task: bytes) -> bytes:
        weighed.append(msgspec.msgpack.decode(task, type=Task))
        features = [Importance("FromUrl", "x", 1.0, 0.5, 0.01), Importance("j", "y", 0.0, 0.0, 0.2)]
        return msgspec.msgpack.encode(Weighed(features, 0.5, 9, 9, 300.0, 2))

    course.evaluator = Evaluator(course.blobs, course.send, course.apply, at_once, weigh)
    evaluation = await course.begin(api_version=version)

    finished = await course.finish()

    if version is Version.V2022:
        assert (found(finished).importance, weighed) == ([], [])
    else:
        assert found(finished).importance == [["FromUrl.x"]]
        (task,) = weighed
        assert (task.training, task.serving) == (course.loop.learned.training, "--epsilon 0")
        assert len(task.excerpt.stretches) == len(COUNTS)
        again = asked.of_evaluation(evaluation, await course.plan(evaluation))
        assert msgspec.msgpack.decode(await asked.gather(course.blobs, LOOP, again), type=Task) == task


@pytest.mark.parametrize("failure", [ChildError("it ended"), TimeoutError(), StorageError("gone")])
async def test_features_that_cannot_be_weighed_do_not_hold_up_the_rest(course: Course, failure: Exception) -> None:
    async def weigh(task: bytes) -> bytes:
        raise failure

    course.evaluator = Evaluator(course.blobs, course.send, course.apply, at_once, weigh)
    await course.begin(api_version=Version.V1_0)

    finished = await course.finish()

    assert (finished.status, found(finished).importance) == (Status.SUCCEEDED, [])


async def test_weighing_waits_for_storage(course: Course) -> None:
    async def weigh(task: bytes) -> bytes:
        raise Unavailable("down")

    course.evaluator = Evaluator(course.blobs, course.send, course.apply, at_once, weigh)
    await course.begin(api_version=Version.V1_0)

    with pytest.raises(Unavailable):
        await course.finish()


async def test_the_features_of_several_slots_are_weighed_as_such(course: Course) -> None:
    evaluation = course.evaluation(api_version=Version.V1_0)
    plan = msgspec.structs.replace(asked.of_evaluation(evaluation, await course.plan(evaluation)), multi_slot=True)

    async def weigh(task: bytes) -> bytes:
        assert msgspec.msgpack.decode(task, type=Task).excerpt.multi_slot
        return msgspec.msgpack.encode(Weighed([Importance("sj", "size", 1.0, 0.5, 0.1)], 0.5, 2, 2, 900.0, 1))

    assert await importances.grouped_of(course.blobs, LOOP, plan, weigh) == [["sj.size"]]


async def test_a_look_mends_what_the_dead_have_left(course: Course) -> None:
    evaluation = await course.begin()
    await course.blobs.delete(f"loops/{LOOP}/jobs/{evaluation.job_id}.json")
    assert await course.evaluator.look(LOOP, course.now)
    assert (await record(course)).status is Status.RUNNING, "its job is written down again"

    def over(held: Evaluation) -> Evaluation:
        return msgspec.structs.replace(held, status=Status.SUCCEEDED)

    await resources.change(course.blobs, LOOP, Evaluation, "e1", over)
    assert await course.evaluator.look(LOOP, course.now)
    assert await course.left() == [], "and pieces of what is over go"


async def test_one_that_is_deleted_before_its_last_piece_is_told_has_no_results(course: Course) -> None:
    await course.begin()
    while len(course.messages) < 2 and (await record(course)).done < 1:
        await course.deliver()
    await resources.delete(course.blobs, LOOP, Evaluation, "e1")

    while course.messages:
        await course.deliver()

    assert await course.left() == []


@pytest.mark.parametrize("end", ["canceled", "deleted"])
async def test_one_that_ends_as_its_results_are_made_has_none(
    course: Course, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    inner = results.keep_bins

    async def keep_bins(*given: Any) -> None:
        await inner(*given)
        if end == "canceled":
            await cancel(course)
        else:
            await resources.delete(course.blobs, LOOP, Evaluation, "e1")

    monkeypatch.setattr(results, "keep_bins", keep_bins)
    await course.begin()
    while course.messages:
        await course.deliver()

    held = await resources.get(course.blobs, LOOP, Evaluation, "e1")
    assert await course.left() == []
    assert held is None if end == "deleted" else held is not None and held.status is Status.CANCELED


async def test_of_two_who_look_at_what_is_over_one_does_nothing(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    await course.begin()
    await course.deliver()
    inner, loads = pieces.load, 0

    async def load(*given: Any) -> Any:
        nonlocal loads
        loads += 1
        return await inner(*given) if loads == 1 else (None, None)

    monkeypatch.setattr(pieces, "load", load)
    sent = list(course.messages)

    assert await course.evaluator.look(LOOP, course.now + evaluator.AGAIN)
    assert course.messages == sent


async def test_what_is_gone_or_damaged_is_said_to_be(course: Course) -> None:
    evaluation = course.evaluation()
    made = await course.plan(evaluation)
    with pytest.raises(StorageError, match="is gone"):
        await pieces.read(course.blobs, LOOP, made, plan.Piece(0, 0))
    await pieces.keep(course.blobs, LOOP, made, plan.Piece(0, 0), b"\xc1")
    with pytest.raises(StorageError, match="is damaged"):
        await pieces.read(course.blobs, LOOP, made, plan.Piece(0, 0))


async def test_a_piece_is_done_in_a_process_of_its_own(course: Course) -> None:
    course.evaluator._scorings._apart = piecework.in_child
    await course.begin()
    await course.deliver()

    assert (await record(course)).done == 1
    assert (await record(course)).events == sum(COUNTS)


async def test_a_shard_without_a_line_is_a_shard(course: Course) -> None:
    evaluation = course.evaluation()
    made = await course.plan(evaluation)
    cut = msgspec.structs.replace(made, ends=[0, *made.ends])
    await course.evaluator.begin(LOOP, evaluation, cut, course.now)

    outcomes = found(await course.finish()).outcomes

    assert [one.slots[0].whole.events for one in outcomes] == [sum(COUNTS)] * 4
