"""What of the log an evaluation looks at, and which policies it compares there."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from bench.news import lines
from shared.contract.configurations import PolicyContract
from shared.contract.evaluations import DateRange, PolicySource
from shared.evaluation import field, namespaces, plan, search, work
from shared.evaluation.field import Sample
from shared.log import joined
from shared.log.erasure import NOTHING
from shared.log.joined import Window
from shared.loops import policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from tests.unit.evaluation.course import LOOP, T0, Course, configured


def slotted(*ids: str) -> bytes:
    """As much of a line as says which slots there were."""
    example = {"FromUrl": [{"x": 1}], "_multi": [{"j": [{"y": 1}]}]}
    return orjson.dumps({"c": example, "_outcomes": [{"_id": name} for name in ids]})


@pytest.mark.parametrize(
    ("start", "end", "since", "seen"),
    [
        (T0, T0 + 900, 0, [0, 1, 2]),
        (T0 + 299, T0 + 301, 0, [0, 1]),
        (T0 + 300, T0 + 600, 0, [1]),
        (T0 + 300.5, T0 + 599.5, 0, [1]),
        (T0 + 250, T0 + 300.5, 0, [0, 1]),
        (T0 - 9000, T0 + 9000, T0 + 300, [1, 2]),
        (T0 + 900, T0 + 9000, 0, []),
        (T0 - 9000, T0, 0, []),
    ],
)
async def test_windows_that_reach_into_the_span_are_seen(start: float, end: float, since: int, seen: list[int]) -> None:
    course = Course()
    await course.log((5, 6, 7))

    found = await field.sizes(course.blobs, LOOP, DateRange(start, end), since)

    assert [(window.start - T0) // 300 for window in found] == seen
    assert all(size > 0 for size in found.values())


async def test_a_sample_is_of_events_for_learning() -> None:
    course = Course()
    await course.log((5, 6))
    skipped = [b'{"_skipLearn":true,' + line[1:] for line in lines(3, 9)]
    last = Window(T0 + 3000, T0 + 3300)
    await joined.write(course.blobs, LOOP, last, joined.DSJSON, skipped)
    windows = [Window(T0 + 300 * n, T0 + 300 * n + 300) for n in (0, 1)]

    found = await field.sample(course.blobs, course.loop, dict.fromkeys([*windows, last], 900), NOTHING)

    assert found.lines == lines(6, 2, T0 + 300), "of the last window that has some"
    assert found.size == 900 / 6
    assert (await field.sample(course.blobs, course.loop, {last: 900}, NOTHING)) == ([], 900 / 3)
    other = configured(course.loop, learning_mode="Apprentice")
    assert await field.sample(course.blobs, other, dict.fromkeys(windows, 900), NOTHING) == ([], 900 / 5)


async def test_policies_are_what_vw_is_told_of_them() -> None:
    course = Course()
    await course.log((50,))
    mine = PolicyContract("mine", "--cb_explore_adf --epsilon 0.1 --regcb --dsjson --l1 0.001")
    evaluation = course.evaluation(policies=[mine])

    made = await course.plan(evaluation)

    (own, (custom,)) = made.groups
    assert [(one.name, one.source, one.arguments) for one in own] == [
        ("online", PolicySource.ONLINE, course.loop.policy.arguments),
        ("baseline1", PolicySource.BASELINE, None),
        ("BaselineRand", PolicySource.RANDOM, None),
    ]
    known = policy.read(mine.arguments).within((-1.0, 1.0))
    assert (custom.arguments, custom.training, custom.resuming) == (mine.arguments, known.training, known.resuming)
    assert "--cb_min_cost" in custom.training
    assert (made.rounds, made.judged, made.searched, made.slots) == ([], 0, 2, [])
    assert made.ends == [sum(size for _, _, size in made.windows)]
    assert (made.mode, made.multi_slot, made.rules.wait) == ("Online", False, 600.0)


async def test_found_policies_do_not_take_a_callers_name() -> None:
    course = Course()
    await course.log((50,))
    names = [one.name for one in (await course.plan(course.evaluation(policies=[], optimize=True))).groups[1]]
    mine = [PolicyContract(name, "--cb_explore_adf") for name in (names[0], f"{names[0]}'")]

    made = await course.plan(course.evaluation(policies=mine, optimize=True))

    found = [one.name for group in made.groups[made.searched :] for one in group]
    assert f"{names[0]}''" in found
    assert len({*found, *(one.name for one in mine)}) == len(found) + 2
    assert len(made.rounds) == len(search.SHARES)
    assert all(one.source is PolicySource.FOUND for group in made.groups[made.searched :] for one in group)
    assert max(map(len, made.groups)) <= plan.BATCH


def test_slots_are_known_by_their_ids() -> None:
    course = Course()
    course.loop = replace(course.loop, policy=policy.read(DEFAULT_ARGUMENTS[Problem.MULTI_SLOT]))
    events = [slotted(*ids) for ids in (["b"], ["a", "b"], [], ["a"])]

    made = field.plan(course.loop, course.evaluation(policies=[]), {Window(T0, T0 + 60): 5}, Sample(events, 1.0))

    assert made.slots == ["b", "a"]
    assert made.multi_slot


def test_slots_of_most_events_are_told_apart() -> None:
    course = Course()
    course.loop = replace(course.loop, policy=policy.read(DEFAULT_ARGUMENTS[Problem.MULTI_SLOT]))
    named = [["hero", f"once-{n}"] for n in range(2 * field.MOST_SLOTS)] + [["side"], ["side"]]
    events = [slotted(*ids) for ids in named]

    made = field.plan(course.loop, course.evaluation(policies=[]), {Window(T0, T0 + 60): 5}, Sample(events, 1.0))

    assert len(made.slots) == field.MOST_SLOTS
    assert (made.slots[0], made.slots[-1]) == ("hero", "side")


def test_a_shard_is_no_larger_than_what_the_dearest_policies_get_through_in_time() -> None:
    course = Course()
    features = {"FromUrl": [{f"x{n}": n for n in range(30)}], "_multi": [{"j": [{"y": n}]} for n in range(10)]}
    sample = Sample([orjson.dumps({"c": features})], 200.0)
    held = {Window(T0 + 60 * n, T0 + 60 * n + 60): 10**7 for n in range(40)}
    dear = "--cb_explore_adf --interactions FFFFj"

    def shards(*arguments: str) -> int:
        policies = [PolicyContract(f"p{n}", each) for n, each in enumerate(arguments)]
        return len(field.plan(course.loop, course.evaluation(policies=policies), held, sample).ends)

    assert shards() == shards("--cb_explore_adf") == -(-(4 * 10**8) // plan.SHARD_BYTES)
    seconds = work.seconds([dear], namespaces.of_lines(sample.lines))
    assert shards(dear) == shards(dear, dear) == -(-(4 * 10**8) // round(200 * work.SECONDS / seconds)) > shards()
