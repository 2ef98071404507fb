"""Calls on loops and keys: what owners make, see and delete, and what everybody else does not."""

from __future__ import annotations

from typing import Any

import pytest

from shared.loops.deployment import DEPLOYMENT
from shared.loops.keys import NAMES, digest
from shared.loops.loops import DEFAULT
from tests.unit.edge.inmemory import KEY, InMemory, error, refusal

LOOPS = "rankloop/v1/loops"


async def test_a_loop_is_made_and_tells_its_keys_once(served: InMemory) -> None:
    response = await served("POST", LOOPS, {"name": "news"})
    made = await served.json("POST", LOOPS, {"name": "sports"})
    listed = await served.json("GET", LOOPS)

    ids = await served.app.loops.ids()
    assert response.status_code == 201
    assert list(made) == ["name", "id", "endpoint", "keys"]
    assert (made["name"], made["id"], made["endpoint"]) == ("sports", ids["sports"], "https://localhost/loops/sports")
    assert set(made["keys"]) == {"key1", "key2"}
    assert listed == {
        "value": [
            {"name": "default", "id": ids["default"], "endpoint": "https://localhost"},
            {"name": "news", "id": ids["news"], "endpoint": "https://localhost/loops/news"},
            {"name": "sports", "id": ids["sports"], "endpoint": "https://localhost/loops/sports"},
        ]
    }


async def test_a_loop_answers_at_its_endpoint_with_either_key(served: InMemory) -> None:
    for key in await served.make_loop("news"):
        told = await served.json("GET", "loops/news/rankloop/v1/health", ocp_apim_subscription_key=key)
        assert told["loopId"] == (await served.app.loops.ids())["news"]


@pytest.mark.parametrize("root", ["", "loops/news/", "loops/default/"])
async def test_an_owner_reaches_the_loops_below_any_of_them(served: InMemory, root: str) -> None:
    await served.make_loop("news")

    assert len((await served.json("GET", f"{root}{LOOPS}"))["value"]) == 2
    assert (await served.json("POST", f"{root}{LOOPS}", {"name": "x"}))["endpoint"] == "https://localhost/loops/x"
    assert (await served("DELETE", f"{root}{LOOPS}/x")).status_code == 204


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "BadRequest"),
        (b"[]", "BadRequest"),
        ({}, "BadRequest"),
        ({"name": None}, "BadRequest"),
        ({"name": 1}, "BadRequest"),
        ({"name": ["news"]}, "BadRequest"),
        ({"name": ""}, "InvalidRequest"),
        ({"name": "News"}, "InvalidRequest"),
        ({"name": "../x"}, "InvalidRequest"),
        ({"name": "x" * 10_000}, "InvalidRequest"),
    ],
)
async def test_a_loop_has_a_name(served: InMemory, body: Any, code: str) -> None:
    assert await refusal(served("POST", LOOPS, body)) == (400, code)
    assert set(await served.app.loops.ids()) == {DEFAULT}


async def test_other_spellings_and_more_members_are_taken(served: InMemory) -> None:
    assert (await served.json("POST", LOOPS, {"Name": "news", "colour": "red"}))["name"] == "news"


@pytest.mark.parametrize("name", ["news", DEFAULT])
async def test_a_name_is_given_once(served: InMemory, name: str) -> None:
    await served.make_loop("news")

    assert await refusal(served("POST", LOOPS, {"name": name})) == (409, "LoopAlreadyExists")


async def test_a_deleted_loop_answers_nobody(served: InMemory) -> None:
    key, _ = await served.make_loop("news")
    await served.make_loop("sports")
    path = "loops/news/personalizer/v1.0/configurations/service"

    response = await served("DELETE", f"{LOOPS}/news")

    assert (response.status_code, response.get_body()) == (204, b"")
    assert await refusal(served("GET", path)) == (404, "FrontEndNotFound")
    assert await refusal(served("GET", path, ocp_apim_subscription_key=key)) == (401, "Unauthorized")
    assert [loop["name"] for loop in (await served.json("GET", LOOPS))["value"]] == [DEFAULT, "sports"]


@pytest.mark.parametrize("name", ["nowhere", "News", "news/", "a/b", "..", "news/../sports", " ", "\ud800"])
async def test_only_a_loop_that_there_is_can_be_deleted(served: InMemory, name: str) -> None:
    await served.make_loop("news")
    await served.make_loop("sports")

    assert await refusal(served("DELETE", f"{LOOPS}/{name}")) == (404, "FrontEndNotFound")
    assert set(await served.app.loops.ids()) == {DEFAULT, "news", "sports"}


async def test_the_default_loop_cannot_be_deleted(served: InMemory) -> None:
    response = await served("DELETE", f"{LOOPS}/default")

    assert (response.status_code, error(response)["code"]) == (400, "InvalidRequest")
    assert await refusal(served("DELETE", LOOPS)) == (404, "ResourceNotFound")


async def test_the_calls_are_for_owners(served: InMemory) -> None:
    key, _ = await served.make_loop("news")
    default_key = (await served.json("POST", "rankloop/v1/keys/key1"))["key"]
    calls: tuple[tuple[str, str, Any], ...] = (
        ("GET", LOOPS, b""),
        ("POST", LOOPS, {"name": "mine"}),
        ("DELETE", f"{LOOPS}/news", b""),
        ("POST", "rankloop/v1/keys/key1", b""),
        ("POST", "rankloop/v1/keys/key2", b""),
    )

    for method, path, body in calls:
        own = served(method, f"loops/news/{path}", body, ocp_apim_subscription_key=key)
        assert await refusal(own) == (403, "Forbidden")
        other = served(method, path, body, ocp_apim_subscription_key=key)
        assert await refusal(other) == (401, "Unauthorized")
        of_default = served(method, path, body, ocp_apim_subscription_key=default_key)
        assert await refusal(of_default) == (403, "Forbidden")
    assert set(await served.app.loops.ids()) == {DEFAULT, "news"}


# -- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
async def test_a_key_is_replaced_and_the_other_goes_on(served: InMemory, name: str) -> None:
    old = dict(zip(NAMES, await served.make_loop("news"), strict=True))
    path = "loops/news/rankloop/v1/health"

    told = await served.json("POST", f"loops/news/rankloop/v1/keys/{name}")

    assert told == {"name": name, "key": told["key"]}
    assert told["key"] not in old.values()
    for key in {**old, name: told["key"]}.values():
        assert (await served("GET", path, ocp_apim_subscription_key=key)).status_code == 200
    assert await refusal(served("GET", path, ocp_apim_subscription_key=old[name])) == (401, "Unauthorized")


async def test_the_default_loop_gets_keys_of_its_own(served: InMemory) -> None:
    path = "personalizer/v1.0/configurations/service"

    first = (await served.json("POST", "rankloop/v1/keys/key2"))["key"]
    second = (await served.json("POST", "rankloop/v1/keys/key1"))["key"]

    for key in (first, second, KEY):
        assert (await served("GET", path, ocp_apim_subscription_key=key)).status_code == 200
    loop = await served.app.loops.named(DEFAULT)
    assert loop.keys == (digest(second), digest(first))
    third = (await served.json("POST", "rankloop/v1/keys/key1"))["key"]
    assert await refusal(served("GET", path, ocp_apim_subscription_key=second)) == (401, "Unauthorized")
    assert (await served("GET", path, ocp_apim_subscription_key=third)).status_code == 200


@pytest.mark.parametrize("name", ["key3", "KEY1", "key", "", "key1/", "key1/key2", "1", "é" * 1000])
async def test_there_are_two_keys(served: InMemory, name: str) -> None:
    response = await served("POST", f"rankloop/v1/keys/{name}")

    assert (response.status_code, error(response)["code"]) == (404, "ResourceNotFound")
    assert len(error(response)["message"]) < 500
    assert (await served.app.loops.named(DEFAULT)).keys == ()


async def test_no_key_is_stored_or_counted(served: InMemory) -> None:
    shown = [*await served.make_loop("news")]
    shown.append((await served.json("POST", "loops/news/rankloop/v1/keys/key1"))["key"])
    shown.append((await served.json("POST", "rankloop/v1/keys/key1"))["key"])

    blobs = [await served.blobs.get(path) for path in await served.blobs.names("")]
    held = b"".join(blob.data for blob in blobs if blob)
    assert DEPLOYMENT in await served.blobs.names("")
    for key in shown:
        assert key.encode() not in held
        assert key not in str(served.app.counters.snapshot())
