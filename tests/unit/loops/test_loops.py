"""Loops over storage in memory, as several instances of the deployment see them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import orjson
import pytest

from shared.contract.errors import ApiError
from shared.counters import Counters
from shared.log import activity, parts, retention
from shared.log.buckets import BUCKET, SETTINGS_LAG, Waits, bucket_of, grace
from shared.log.hours import Hours
from shared.log.joiner import Joiner
from shared.loops import policy, settings
from shared.loops.deployment import DEPLOYMENT
from shared.loops.loops import DEFAULT, NOTICE, REMEMBERED
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.loops.service import DAY
from shared.loops.settings import Loop
from shared.storage import Blob, StorageError, Unavailable
from tests.hourly import rows
from tests.journalled import T0, Obs, Rank, journal
from tests.unit.loops.deployed import NOW, Deployment, code, fresh, learning, rewrite, stored, to


async def test_the_first_instance_founds_the_default_loop(deployment: Deployment) -> None:
    loop = await deployment.instance().named(DEFAULT)

    assert len(loop.id) == 32
    assert set(loop.id) <= set("0123456789abcdef")
    assert loop.configuration == fresh()
    assert loop.policy == policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT])
    assert loop.waits == Waits(((0, 600.0),))
    assert (loop.keys, loop.created, loop.edited) == ((), NOW, None)
    assert await deployment.blobs.names("") == [DEPLOYMENT, settings.path(loop.id)]


async def test_a_founding_whose_answer_was_lost_stands(deployment: Deployment) -> None:
    put = deployment.blobs.put

    async def repeated(path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        if path == DEPLOYMENT:
            await put(path, data, etag, metadata)  # took effect, but the SDK saw no answer and repeats it
        return await put(path, data, etag, metadata)

    deployment.blobs.put = repeated  # type: ignore[method-assign]
    loop = await deployment.instance().named(DEFAULT)

    assert await deployment.blobs.names("") == [DEPLOYMENT, settings.path(loop.id)]
    assert (await deployment.instance().named(DEFAULT)).id == loop.id


async def test_instances_that_start_at_once_found_one_loop(deployment: Deployment) -> None:
    found = await asyncio.gather(*[deployment.instance().named(DEFAULT) for _ in range(5)])

    assert len({loop.id for loop in found}) == 1
    # Settings of those that were not quick enough are cleared away.
    assert await deployment.blobs.names("") == [DEPLOYMENT, settings.path(found[0].id)]
    assert (await deployment.instance().named(DEFAULT)).id == found[0].id


async def test_an_unknown_loop_is_not_found(deployment: Deployment) -> None:
    with pytest.raises(ApiError) as caught:
        await deployment.instance().named("news")

    assert (caught.value.code, caught.value.status) == ("FrontEndNotFound", 404)


async def test_a_change_is_seen_at_once_here_and_within_five_seconds_elsewhere(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    await there.named(DEFAULT)

    changed = await here.change(DEFAULT, to(default_reward=0.5))

    assert changed.configuration.default_reward == 0.5
    assert (await here.named(DEFAULT)).configuration.default_reward == 0.5
    assert (await there.named(DEFAULT)).configuration.default_reward == 0.0
    deployment.later(5)
    assert (await there.named(DEFAULT)).configuration.default_reward == 0.5
    assert (await deployment.instance().named(DEFAULT)).configuration == changed.configuration


async def test_a_loops_settings_are_read_again_only_after_a_change(deployment: Deployment) -> None:
    loops = deployment.instance()
    path = settings.path((await loops.named(DEFAULT)).id)
    deployment.blobs.reads.clear()

    for _ in range(5):
        deployment.later(5)
        await loops.named(DEFAULT)
    assert deployment.blobs.reads == [DEPLOYMENT] * 5
    await deployment.instance().change(DEFAULT, to(default_reward=0.5))
    deployment.blobs.reads.clear()
    deployment.later(5)
    await loops.named(DEFAULT)
    assert deployment.blobs.reads == [DEPLOYMENT, path]


async def test_two_changes_at_once_both_hold(deployment: Deployment) -> None:
    first, second = deployment.instance(), deployment.instance()
    await first.named(DEFAULT)
    await second.named(DEFAULT)

    await asyncio.gather(
        first.change(DEFAULT, to(default_reward=0.5)), second.change(DEFAULT, to(exploration_percentage=0.7))
    )

    found = (await deployment.instance().named(DEFAULT)).configuration
    assert (found.default_reward, found.exploration_percentage) == (0.5, 0.7)
    loop = await deployment.instance().named(DEFAULT)
    assert (await stored(deployment))["settings"] == {loop.id: loop.etag}


async def test_a_change_that_was_overtaken_is_made_of_the_newer_settings(deployment: Deployment) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)
    seen: list[float] = []

    async def overtake(path: str) -> None:
        await deployment.instance().change(DEFAULT, to(default_reward=0.25))

    def change(held: Loop) -> Loop:
        seen.append(held.configuration.default_reward)
        return to(exploration_percentage=0.7)(held)

    deployment.blobs.before_put = overtake
    found = (await loops.change(DEFAULT, change)).configuration

    assert seen == [0.0, 0.25]
    assert (found.default_reward, found.exploration_percentage) == (0.25, 0.7)


async def test_a_change_that_is_told_meanwhile_is_told_too(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)

    async def tell_another(path: str) -> None:
        async def overtake(path: str) -> None:
            assert path == DEPLOYMENT
            await rewrite(deployment, DEPLOYMENT, settings={loop.id: "older", "f" * 32: "another loop's"})

        deployment.blobs.before_put = overtake  # for the write after this one

    deployment.blobs.before_put = tell_another
    await loops.change(DEFAULT, to(default_reward=0.5))

    told = (await stored(deployment))["settings"]
    assert told == {loop.id: (await loops.by_id(loop.id)).etag, "f" * 32: "another loop's"}


async def test_a_change_that_is_refused_changes_nothing(deployment: Deployment) -> None:
    loops = deployment.instance()
    before = await loops.named(DEFAULT)

    def refuse(held: Loop) -> Loop:
        raise ApiError("InvalidServiceConfiguration", "no")

    with pytest.raises(ApiError):
        await loops.change(DEFAULT, refuse)

    deployment.later(5)
    assert await loops.named(DEFAULT) == before


async def test_rivals_in_any_number_lose_no_change(deployment: Deployment) -> None:
    instances = [deployment.instance() for _ in range(6)]

    def add(loop: Loop) -> Loop:
        return to(log_retention_days=loop.configuration.log_retention_days + 1)(loop)

    await asyncio.gather(*[instance.change(DEFAULT, add) for instance in instances])

    assert (await deployment.instance().named(DEFAULT)).configuration.log_retention_days == 96


# -- when learning was last changed -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "edits"),
    [
        (to(reward_wait_time=15.0), True),
        (to(default_reward=0.5), True),
        (to(reward_aggregation="sum"), True),
        (to(exploration_percentage=0.5), True),
        (to(learning_mode="Apprentice"), True),
        (to(model_retrain_days=7), True),
        (learning("--cb_explore_adf --bag 3"), True),
        (learning(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT].replace("0.2", "0.3")), True),
        (learning(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]), False),
        (to(is_auto_optimization_enabled=False), False),
        (to(auto_optimization_frequency=DAY), False),
        (to(auto_optimization_start=1e9), False),
        (to(model_export_frequency=60.0), False),
        (to(log_retention_days=30), False),
        (to(log_mirror_enabled=False, log_mirror_sas_uri="https://x"), False),
        (to(is_inference_explainability_enabled=True), False),
        (to(default_reward=0.0, reward_aggregation="earliest"), False),
        (lambda loop: replace(loop, keys=(b"1" * 32,)), False),
        (lambda loop: loop, False),
    ],
)
async def test_a_change_that_shapes_learning_is_dated(
    deployment: Deployment, change: Callable[[Loop], Loop], edits: bool
) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)
    deployment.now += 100

    changed = await loops.change(DEFAULT, change)

    assert changed.edited == (deployment.now if edits else None)
    deployment.now += 100
    assert (await loops.change(DEFAULT, to(log_retention_days=31))).edited == changed.edited
    assert (await deployment.instance().named(DEFAULT)).edited == changed.edited


async def test_another_policy_is_news_for_the_trainer_though_no_event_is_new(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)

    assert await activity.untrained(deployment.tables) == []
    await loops.change(DEFAULT, learning("--cb_explore_adf --bag 3"))

    (note,) = await activity.untrained(deployment.tables)
    assert (note.loop_id, note.after) == (loop.id, 0.0)
    await activity.trained(deployment.tables, note)
    # As when the first call died before it could note anything.
    await loops.change(DEFAULT, learning("--cb_explore_adf --bag 3"))
    assert len(await activity.untrained(deployment.tables)) == 1


async def test_settings_that_nobody_was_told_of_are_told_later(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    loop = await there.named(DEFAULT)
    await rewrite(deployment, settings.path(loop.id), created=1.0)  # and whoever wrote this died
    deployment.later(5)
    assert await there.named(DEFAULT) == loop

    await here.ids()
    await here.settle(await here.by_id(loop.id))

    deployment.later(5)
    assert (await there.named(DEFAULT)).created == 1.0
    before = await stored(deployment)
    await here.ids()
    await here.settle(await here.by_id(loop.id))
    assert await stored(deployment) == before


# -- reward waits -----------------------------------------------------------------------------------------------------


async def test_a_changed_wait_holds_at_once_while_no_event_is_pending(deployment: Deployment) -> None:
    loop = await deployment.instance().change(DEFAULT, to(reward_wait_time=15.0))

    assert loop.waits == Waits(((0, 15.0),))


async def test_a_wait_that_holds_at_once_leaves_what_is_joined_its_own(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)
    for n in range(2):
        records = Rank(f"e{n}", T0 + 5000 * n), Obs(f"e{n}", T0 + 5000 * n + 300)
        await journal(deployment.tables, records, loop.waits, loop_id=loop.id)
        spans = (await activity.noted(deployment.tables))[loop.id]
        deployment.now = T0 + 5000 * n + 2000.0
        await Joiner(deployment.tables, deployment.blobs, Counters()).run(loop.rules(), spans, deployment.now)
        if n == 0:
            loop = await loops.change(DEFAULT, to(reward_wait_time=15.0))
    assert loop.waits == Waits(((0, 600.0), (T0 + 360, 15.0)))

    deployment.now = T0 + 3 * 3600.0
    await Hours(deployment.blobs, Counters()).run(loop.rules(), deployment.now, [])

    found = await rows(deployment.blobs, parts.OBSERVATIONS, loop.id)
    assert [(row["event_id"], row["fate"]) for row in found] == [("e0", "joined"), ("e1", "late")]


async def test_a_wait_that_holds_at_once_does_so_with_its_own_grace(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)
    await retention.clear(deployment.blobs, loop.id, NOW)

    changed = await loops.change(DEFAULT, to(reward_wait_time=15.0))

    assert changed.waits == Waits(((0, 600.0), (bucket_of(NOW) - SETTINGS_LAG, 15.0)))
    assert changed.waits.closes(bucket_of(NOW)) == bucket_of(NOW) + BUCKET + grace(15.0)


async def test_a_changed_wait_is_a_minute_ahead_while_events_are_pending(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)
    await activity.note_rows(deployment.tables, activity.span_of(loop.id, 0, 1_699_999_980, loop.waits))

    changed = await loops.change(DEFAULT, to(reward_wait_time=15.0))

    assert NOTICE == 60
    assert changed.waits == Waits(((0, 600.0), (1_700_000_065, 15.0)))
    assert changed.configuration.reward_wait_time == 15.0
    assert (await deployment.instance().named(DEFAULT)).waits == changed.waits


async def test_another_loops_pending_events_do_not_delay_a_wait(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)
    await activity.note_rows(deployment.tables, activity.span_of("f" * 32, 0, 1_699_999_980, loop.waits))

    assert (await loops.change(DEFAULT, to(reward_wait_time=15.0))).waits == Waits(((0, 15.0),))


async def test_a_wait_that_stays_is_not_a_new_step(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)
    await activity.note_rows(deployment.tables, activity.span_of(loop.id, 0, 1_699_999_980, loop.waits))

    assert (await loops.change(DEFAULT, to(default_reward=0.5))).waits == loop.waits


async def test_waits_that_no_event_can_need_are_forgotten(deployment: Deployment) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)
    old = int(NOW) - REMEMBERED
    waits = [[0, 100.0], [old - 100, 200.0], [old - 50, 300.0], [old + 100, 600.0]]
    await rewrite(deployment, settings.path(loop.id), waits=waits)
    await activity.note_rows(deployment.tables, activity.span_of(loop.id, 0, 1_699_999_980, loop.waits))

    changed = await loops.change(DEFAULT, to(reward_wait_time=15.0))

    assert changed.waits == Waits(((old - 50, 300.0), (old + 100, 600.0), (1_700_000_065, 15.0)))


async def test_a_loop_that_was_never_seen_is_unavailable_while_storage_is_away(deployment: Deployment) -> None:
    deployment.blobs.down = {""}
    loops = deployment.instance()

    with pytest.raises(Unavailable):
        await loops.named(DEFAULT)

    deployment.blobs.down = set()
    deployment.later(5)
    assert (await loops.named(DEFAULT)).configuration == fresh()


@pytest.mark.parametrize("down", ["deployment.json", "loops/", ""])
async def test_what_was_seen_stands_while_storage_is_away(deployment: Deployment, down: str) -> None:
    loops = deployment.instance()
    before = await loops.named(DEFAULT)
    await deployment.instance().change(DEFAULT, to(default_reward=0.5))
    deployment.blobs.down = {down}

    for _ in range(3):
        deployment.later(5)
        assert await loops.named(DEFAULT) == before

    deployment.blobs.down = set()
    deployment.later(5)
    assert (await loops.named(DEFAULT)).configuration.default_reward == 0.5


async def test_settings_read_while_they_changed_are_not_kept(deployment: Deployment) -> None:
    await deployment.instance().named(DEFAULT)
    loops = deployment.instance()
    read = loops.by_id

    async def slow(loop_id: str) -> Loop:
        loop = await read(loop_id)
        if not changed:
            changed.append(True)
            await deployment.instance().change(DEFAULT, to(default_reward=0.5))
            await loops._freshness.refresh()
        return loop

    changed: list[bool] = []
    loops.by_id = slow  # type: ignore[method-assign]
    await loops.named(DEFAULT)

    assert (await loops.named(DEFAULT)).configuration.default_reward == 0.5


async def test_by_id_reads_the_loop_as_it_is_now(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    loop = await here.named(DEFAULT)
    await there.change(DEFAULT, to(default_reward=0.5))

    assert (await here.by_id(loop.id)).configuration.default_reward == 0.5
    with pytest.raises(StorageError, match="are gone"):
        await here.by_id("f" * 32)


async def test_the_rules_of_the_join_are_the_loops_settings(deployment: Deployment) -> None:
    loop = await deployment.instance().change(DEFAULT, to(default_reward=0.5, reward_aggregation="sum"))

    rules = loop.rules()

    assert (rules.loop_id, rules.waits, rules.default_reward, rules.aggregation, rules.reward_range) == (
        loop.id,
        loop.waits,
        0.5,
        "sum",
        (-1.0, 1.0),
    )


async def test_settings_of_a_later_release_are_refused(deployment: Deployment) -> None:
    loop = await deployment.instance().named(DEFAULT)
    await rewrite(deployment, settings.path(loop.id), format=2)

    with pytest.raises(StorageError, match="format 2"):
        await deployment.instance().named(DEFAULT)


async def test_a_deployment_of_a_later_release_is_refused(deployment: Deployment) -> None:
    await deployment.instance().named(DEFAULT)
    await rewrite(deployment, DEPLOYMENT, format=2)

    with pytest.raises(StorageError):
        await deployment.instance().named(DEFAULT)


async def test_members_of_a_later_release_survive_a_change(deployment: Deployment) -> None:
    await deployment.instance().named(DEFAULT)
    await rewrite(deployment, DEPLOYMENT, comment="kept")

    await deployment.instance().change(DEFAULT, to(default_reward=0.5))

    assert (await stored(deployment))["comment"] == "kept"


async def test_a_deployment_that_vanishes_is_an_error_for_a_change(deployment: Deployment) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)
    await deployment.blobs.delete(DEPLOYMENT)

    with pytest.raises(StorageError, match="is gone"):
        await loops.change(DEFAULT, to(default_reward=0.5))


async def test_a_loop_that_is_taken_out_of_the_deployment_is_not_found(deployment: Deployment) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)
    await rewrite(deployment, DEPLOYMENT, loops={})
    deployment.later(5)

    assert await code(loops.named(DEFAULT)) == "FrontEndNotFound"


async def test_settings_of_the_former_release_are_read_and_changed(deployment: Deployment) -> None:
    loop = await deployment.instance().named(DEFAULT)
    path = settings.path(loop.id)
    former = await stored(deployment, path)
    for name in ("policy", "keys", "created", "edited"):
        former.pop(name, None)
    members = "reward_wait_time default_reward reward_aggregation exploration_percentage model_export_frequency"
    kept = (*members.split(), "log_retention_days", "reward_range")
    former["configuration"] = {name: former["configuration"][name] for name in kept}
    await deployment.blobs.delete(path)
    await deployment.blobs.put(path, orjson.dumps(former))
    await deployment.blobs.delete(DEPLOYMENT)
    await deployment.blobs.put(DEPLOYMENT, orjson.dumps({"loops": {DEFAULT: loop.id}, "version": 3, "format": 1}))

    loops = deployment.instance()
    read = await loops.named(DEFAULT)
    changed = await loops.change(DEFAULT, to(default_reward=0.5))

    assert (read.policy, read.waits, read.keys, read.edited) == (loop.policy, loop.waits, (), None)
    assert read.configuration == replace(loop.configuration, auto_optimization_start=0.0)
    assert changed.configuration.default_reward == 0.5
    assert (await stored(deployment))["settings"] == {loop.id: changed.etag}
    assert (await stored(deployment))["version"] == 3


# -- what a look costs, with many loops -------------------------------------------------------------------------------


async def hundred(deployment: Deployment) -> dict[str, Loop]:
    """A hundred loops, by name."""
    maker = deployment.instance()
    return {f"loop-{n}": (await maker.create(f"loop-{n}"))[0] for n in range(100)}


async def test_a_loop_is_read_when_it_is_first_called(deployment: Deployment) -> None:
    made = await hundred(deployment)
    instance = deployment.instance()
    deployment.blobs.reads.clear()

    await instance.named("loop-7")
    assert deployment.blobs.reads == [DEPLOYMENT, settings.path(made["loop-7"].id)]
    for _ in range(100):
        await instance.named("loop-7")
    assert len(deployment.blobs.reads) == 2


async def test_one_blob_is_looked_at_for_all_loops(deployment: Deployment) -> None:
    made = await hundred(deployment)
    instance = deployment.instance()
    for name in made:
        await instance.named(name)
    deployment.blobs.reads.clear()

    for _ in range(10):
        deployment.later(5)
        for name in made:
            assert (await instance.named(name)).id == made[name].id

    assert deployment.blobs.reads == [DEPLOYMENT] * 10


async def test_a_change_of_one_loop_reads_that_loop_alone(deployment: Deployment) -> None:
    made = await hundred(deployment)
    here, there = deployment.instance(), deployment.instance()
    for name in made:
        await there.named(name)
    await here.change("loop-42", to(default_reward=0.5))
    await here.change("loop-42", to(reward_aggregation="sum"))
    deployment.blobs.reads.clear()

    deployment.later(5)
    seen = {name: await there.named(name) for name in made}

    assert deployment.blobs.reads == [DEPLOYMENT, settings.path(made["loop-42"].id)]
    assert seen["loop-42"].configuration.default_reward == 0.5
    assert {name for name, loop in seen.items() if loop != made[name]} == {"loop-42"}


async def test_a_change_of_a_loop_that_an_instance_never_served_costs_it_nothing(deployment: Deployment) -> None:
    made = await hundred(deployment)
    here, there = deployment.instance(), deployment.instance()
    await there.named("loop-1")
    await here.change("loop-42", to(default_reward=0.5))
    deployment.blobs.reads.clear()

    deployment.later(5)
    assert await there.named("loop-1") == made["loop-1"]

    assert deployment.blobs.reads == [DEPLOYMENT]


async def test_names_that_nobody_has_cost_nothing(deployment: Deployment) -> None:
    instance = deployment.instance()
    await instance.named(DEFAULT)
    deployment.blobs.reads.clear()

    for n in range(100):
        assert await code(instance.named(f"guess-{n}")) == "FrontEndNotFound"

    assert deployment.blobs.reads == []


@pytest.mark.parametrize("second", [2.0, 3.0, 4.0, 4.9])
async def test_a_change_is_seen_within_five_seconds_by_an_instance_that_is_called_all_the_time(
    deployment: Deployment, second: float
) -> None:
    here, there = deployment.instance(), deployment.instance()
    await there.named(DEFAULT)
    deployment.later(second)
    await here.change(DEFAULT, to(default_reward=0.5))

    for _ in range(100):  # 5 s of calls
        deployment.later(0.05)
        await there.named(DEFAULT)
        await asyncio.sleep(0)

    assert (await there.named(DEFAULT)).configuration.default_reward == 0.5


@pytest.mark.parametrize("gone", [False, True])
async def test_a_loop_that_cannot_be_read_keeps_no_other_from_being_seen(deployment: Deployment, gone: bool) -> None:
    here, there = deployment.instance(), deployment.instance()
    damaged, _ = await here.create("damaged")
    await here.create("sound")
    for name in ("damaged", "sound"):
        await there.named(name)
    await here.change("damaged", to(default_reward=0.5))
    if gone:
        await deployment.blobs.delete(settings.path(damaged.id))
    else:
        await rewrite(deployment, settings.path(damaged.id), format=2)
    await here.change("sound", to(default_reward=0.5))

    deployment.later(5)

    assert (await there.named("sound")).configuration.default_reward == 0.5
    assert await there.named("damaged") == damaged
    with pytest.raises(StorageError):
        await deployment.instance().named("damaged")


async def test_a_look_that_ends_late_does_not_bring_back_what_it_saw(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    loop = await there.named(DEFAULT)
    await here.change(DEFAULT, to(default_reward=0.25))
    read, held_back, get = asyncio.Event(), asyncio.Event(), deployment.blobs.get

    async def slow(path: str) -> Blob | None:
        blob = await get(path)
        if path == settings.path(loop.id) and not read.is_set():
            read.set()
            await held_back.wait()
        return blob

    deployment.blobs.get = slow  # type: ignore[method-assign]
    deployment.later(2)
    await there.named(DEFAULT)  # begins a look beside the calls
    await read.wait()
    change = asyncio.ensure_future(there.change(DEFAULT, to(default_reward=0.5)))
    for _ in range(20):
        await asyncio.sleep(0)
    held_back.set()
    await change

    assert (await there.named(DEFAULT)).configuration.default_reward == 0.5
