"""Loops made, listed, given keys and deleted, as several instances of the deployment see them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import replace

import pytest

from shared.contract.errors import ApiError
from shared.log.buckets import Waits
from shared.loops import keys, policy, settings
from shared.loops.deployment import DEPLOYMENT
from shared.loops.loops import DEFAULT
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.storage import StorageError, Unavailable
from tests.unit.loops.deployed import NOW, Deployment, code, fresh, rewrite, stored, to


async def everything(deployment: Deployment) -> bytes:
    """All that is stored: every blob and every row."""
    blobs = [await deployment.blobs.get(path) for path in await deployment.blobs.names("")]
    rows = [
        json.dumps(row, default=repr)
        for table in await deployment.tables.names("")
        async for row, _ in deployment.tables.query(table, ("", "~"))
    ]
    return b"".join(blob.data for blob in blobs if blob) + "".join(rows).encode()


async def test_a_loop_that_was_made_is_fresh_and_its_own(deployment: Deployment) -> None:
    loops = deployment.instance()
    default = await loops.named(DEFAULT)
    await loops.change(DEFAULT, to(default_reward=0.5))

    made, shown = await loops.create("news")

    assert made.id != default.id
    assert len(bytes.fromhex(made.id)) == 16
    assert (made.configuration, made.waits) == (fresh(), Waits(((0, 600.0),)))
    assert made.policy == policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT])
    assert (made.created, made.edited) == (NOW, None)
    assert made.keys == tuple(map(keys.digest, shown))
    assert len(set(shown)) == 2
    assert await loops.named("news") == await deployment.instance().named("news") == made
    assert await loops.ids() == {DEFAULT: default.id, "news": made.id}


async def test_another_instance_sees_it_within_five_seconds(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    await there.named(DEFAULT)
    made, _ = await here.create("news")

    assert await code(there.named("news")) == "FrontEndNotFound"
    assert await there.ids() == await here.ids()  # asked for as of now
    assert await there.named("news") == made
    third = deployment.instance()
    await third.named(DEFAULT)
    other, _ = await here.create("sports")
    deployment.later(5)
    assert await third.named("sports") == other


async def test_loops_can_be_made_where_nothing_was_called_yet(deployment: Deployment) -> None:
    made, _ = await deployment.instance().create("news")

    assert (await deployment.instance().ids())["news"] == made.id
    assert (await deployment.instance().named(DEFAULT)).id != made.id


GOOD = ("a", "0", "news", "a-b", "a--b", "9" * 63, "x" + "-" * 61 + "y", "loops", "personalizer", "v1", "con", "nul")
HOSTILE = (
    "", " ", "-", "-a", "a-", "A", "News", "a b", "a_b", "a.b", ".", "..", "../x", "a/b", "a\\b", "a%2Fb", "a\n", "\na",
    "a\0", "x" * 64, "x" * 10_000, "é", "\uff41", "ß", "İ", "\uff11", "a\u200b", "🎉", "\ud800", "a'b", 'a"b', "a;b",
    "a:b", "a|b", "deployment.json", "$web", "<script>", "a?b", "a#b", "a=b", "a&b", "a*",
)  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
async def test_a_name_of_small_letters_digits_and_hyphens_is_taken(deployment: Deployment, name: str) -> None:
    loops = deployment.instance()

    made, _ = await loops.create(name)

    assert (await loops.named(name)).id == made.id


@pytest.mark.parametrize("name", HOSTILE)
async def test_any_other_name_is_refused_before_storage_is_asked(deployment: Deployment, name: str) -> None:
    with pytest.raises(ApiError) as caught:
        await deployment.instance().create(name)

    assert (caught.value.code, caught.value.status, caught.value.target) == ("InvalidRequest", 400, "name")
    assert len(caught.value.body()) < 300
    assert (deployment.blobs.reads, await deployment.blobs.names("")) == ([], [])


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_name_reaches_a_path(deployment: Deployment, name: str) -> None:
    loops = deployment.instance()
    loop = await loops.named(DEFAULT)
    deployment.blobs.reads.clear()

    for call in (loops.named(name), loops.change(name, lambda loop: loop), loops.delete(name)):
        with pytest.raises(ApiError) as caught:
            await call
        assert caught.value.code == "FrontEndNotFound"
        assert len(caught.value.body()) < 300

    assert set(deployment.blobs.reads) <= {DEPLOYMENT}
    assert await deployment.blobs.names("") == [DEPLOYMENT, settings.path(loop.id)]


@pytest.mark.parametrize("name", ["news", DEFAULT])
async def test_a_name_is_given_once(deployment: Deployment, name: str) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)
    if name != DEFAULT:
        await loops.create(name)
    before = await deployment.blobs.names("")

    with pytest.raises(ApiError) as caught:
        await deployment.instance().create(name)

    assert (caught.value.code, caught.value.status, caught.value.target) == ("LoopAlreadyExists", 409, "name")
    assert await deployment.blobs.names("") == before  # nothing is left of the one that was not to be


async def test_of_several_that_make_one_loop_at_once_one_succeeds(deployment: Deployment) -> None:
    instances = [deployment.instance() for _ in range(5)]
    await instances[0].named(DEFAULT)

    made = await asyncio.gather(*[instance.create("news") for instance in instances], return_exceptions=True)

    (winner,) = [result[0] for result in made if not isinstance(result, BaseException)]
    assert all(isinstance(result, ApiError) for result in made if isinstance(result, BaseException))
    assert (await deployment.instance().named("news")).id == winner.id
    assert len(await deployment.blobs.names("loops/")) == 2


async def test_loops_that_are_made_at_once_are_all_made(deployment: Deployment) -> None:
    made = await asyncio.gather(*[deployment.instance().create(f"n{n}") for n in range(5)])

    ids = await deployment.instance().ids()
    assert [ids[f"n{n}"] for n in range(5)] == [loop.id for loop, _ in made]
    assert len(set(ids.values())) == 6


async def test_a_loop_whose_making_was_not_answered_is_made_all_the_same(deployment: Deployment) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)
    put, lost = deployment.blobs.put, [DEPLOYMENT]

    async def repeated(path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        if path in lost:
            lost.remove(path)
            await put(path, data, etag, metadata)  # took effect, but the SDK saw no answer and repeats it
        return await put(path, data, etag, metadata)

    deployment.blobs.put = repeated  # type: ignore[method-assign]
    made, _ = await loops.create("news")

    assert (await deployment.instance().named("news")).id == made.id


async def test_what_storage_does_not_take_is_not_made(deployment: Deployment) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)
    deployment.blobs.down = {DEPLOYMENT}

    with pytest.raises(Unavailable):
        await loops.create("news")

    deployment.blobs.down = set()
    assert set(await loops.ids()) == {DEFAULT}


# -- keys -------------------------------------------------------------------------------------------------------------


async def test_of_keys_only_their_hashes_are_stored(deployment: Deployment) -> None:
    loops = deployment.instance()
    _, shown = await loops.create("news")
    another = keys.new()
    await loops.change("news", lambda loop: replace(loop, keys=(loop.keys[0], keys.digest(another))))

    held = await everything(deployment)

    for key in (*shown, another):
        assert key.encode() not in held
        assert bytes.fromhex(key) not in held
    for key in (shown[0], another):
        assert hashlib.sha256(key.encode()).hexdigest().encode() in held
    assert hashlib.sha256(shown[1].encode()).hexdigest().encode() not in held


async def test_a_replaced_key_counts_everywhere_within_five_seconds(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    loop, _ = await here.create("news")
    assert (await there.named("news")).keys == loop.keys

    changed = await here.change("news", lambda loop: replace(loop, keys=(keys.digest("new"), loop.keys[1])))

    assert changed.keys == (keys.digest("new"), loop.keys[1])
    assert (await here.named("news")).keys == changed.keys
    deployment.later(5)
    assert (await there.named("news")).keys == changed.keys
    assert changed.edited is None


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_a_deleted_loop_is_gone_at_once_here_and_within_five_seconds_elsewhere(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    made, _ = await here.create("news")
    await there.named("news")
    await here.change("news", to(default_reward=0.5))
    deployment.now += 100

    await here.delete("news")

    assert await code(here.named("news")) == "FrontEndNotFound"
    assert (await there.named("news")).id == made.id
    deployment.later(5)
    assert await code(there.named("news")) == "FrontEndNotFound"
    assert set(await there.ids()) == {DEFAULT}
    assert await here.deleted() == await there.deleted() == {made.id: deployment.now}
    assert made.id not in (await stored(deployment))["settings"]


async def test_what_is_deleted_cannot_be_changed(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    await here.create("news")
    await there.named("news")

    await here.delete("news")

    assert await code(here.change("news", to(default_reward=0.5))) == "FrontEndNotFound"
    assert await code(here.delete("news")) == "FrontEndNotFound"
    assert await code(there.delete("news")) == "FrontEndNotFound"


async def test_a_change_by_who_has_not_seen_the_end_yet_brings_nothing_back(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    made, _ = await here.create("news")
    await there.named("news")
    await here.delete("news")

    with suppress(ApiError):
        await there.change("news", to(default_reward=0.5))

    assert await code(there.named("news")) == "FrontEndNotFound"
    assert set(await here.ids()) == {DEFAULT}
    assert made.id not in (await stored(deployment))["settings"]


async def test_the_default_loop_stays(deployment: Deployment) -> None:
    loops = deployment.instance()

    with pytest.raises(ApiError) as caught:
        await loops.delete(DEFAULT)

    assert (caught.value.code, caught.value.status, caught.value.target) == ("InvalidRequest", 400, "name")
    await loops.named(DEFAULT)


async def test_a_loop_that_takes_a_name_again_is_another_one(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    first, old = await here.create("news")
    await there.named("news")
    await here.change("news", to(default_reward=0.5))
    await here.delete("news")

    second, new = await here.create("news")

    assert second.id != first.id
    assert second.configuration == fresh()
    assert not {*old} & {*new}
    deployment.later(5)
    assert await there.named("news") == second
    assert set(await there.deleted()) == {first.id}


async def test_deleting_at_once_deletes_once(deployment: Deployment) -> None:
    instances = [deployment.instance() for _ in range(4)]
    made, _ = await instances[0].create("news")
    await instances[0].create("sports")

    ended = await asyncio.gather(*[instance.delete("news") for instance in instances], return_exceptions=True)

    assert None in ended
    assert all(end is None or isinstance(end, ApiError) for end in ended)
    assert set(await instances[0].ids()) == {DEFAULT, "sports"}
    assert set(await instances[0].deleted()) == {made.id}


async def test_a_deleted_loop_is_remembered_until_nothing_of_it_is_stored(deployment: Deployment) -> None:
    here, there = deployment.instance(), deployment.instance()
    first, _ = await here.create("news")
    second, _ = await here.create("sports")
    await here.delete("news")
    await here.delete("sports")

    await there.forget(first.id)
    await there.forget("f" * 32)

    deployment.later(5)
    assert set(await here.deleted()) == {second.id}


async def test_a_deployment_of_the_former_release_takes_loops(deployment: Deployment) -> None:
    loop = await deployment.instance().named(DEFAULT)
    await deployment.blobs.delete(DEPLOYMENT)
    former = {"loops": {DEFAULT: loop.id}, "version": 3, "format": 1}
    await deployment.blobs.put(DEPLOYMENT, json.dumps(former).encode())
    loops = deployment.instance()

    made, _ = await loops.create("news")
    await loops.delete("news")

    assert (await loops.named(DEFAULT)).id == loop.id
    assert await loops.deleted() == {made.id: NOW}


async def test_a_later_releases_deployment_is_left_alone(deployment: Deployment) -> None:
    loops = deployment.instance()
    await loops.named(DEFAULT)
    await rewrite(deployment, DEPLOYMENT, format=2)
    before = await stored(deployment)

    for call in (loops.create("news"), loops.delete("news"), loops.forget("f" * 32)):
        with pytest.raises(StorageError):
            await call

    assert await stored(deployment) == before
