"""Keys and tokens into roles, and what a caller is told who has none."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping

import pytest
from azure.functions import HttpRequest
from hypothesis import given
from hypothesis import strategies as st

from shared.access import roles
from shared.access.roles import ALL, HEADERS, LOOP_KEY, Access, Role
from shared.contract.errors import ApiError
from shared.log.buckets import Waits
from shared.loops import keys, policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop

KEY = "correct horse"
ONE, TWO, OTHER = "key one", "key two", "another loop's"
KEY_HEADER = "ocp-apim-subscription-key"


def loop(*held: str) -> Loop:
    return Loop(
        "f" * 32,
        ServiceConfiguration(),
        policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]),
        Waits(((0, 600.0),)),
        tuple(map(keys.digest, held)),
    )


LOOP = loop(ONE, TWO)


class Tokens:
    """Stands for Entra ID: the app roles of the tokens that count."""

    def __init__(self, **held: str) -> None:
        self.held = held
        self.seen: list[str] = []

    async def roles(self, token: str) -> frozenset[str]:
        self.seen.append(token)
        if token not in self.held:
            raise ApiError("Unauthorized", "The token is none of ours.")
        return frozenset(self.held[token].split())


async def refusal(access: Access, headers: Mapping[str, str], called: Loop | None = LOOP) -> str:
    with pytest.raises(ApiError) as caught:
        await access.roles(headers, called)
    assert (caught.value.code, caught.value.status) == ("Unauthorized", 401)
    return caught.value.message


def test_a_loops_key_holds_what_personalizers_did() -> None:
    assert LOOP_KEY == Role.CALL | Role.READ | Role.MANAGE
    assert ALL == LOOP_KEY | Role.OWNER
    assert not LOOP_KEY & Role.OWNER


@pytest.mark.parametrize(
    "headers",
    [
        {KEY_HEADER: KEY},
        {"apim-subscription-id": KEY},
        {KEY_HEADER: KEY, "apim-subscription-id": "another"},
        {KEY_HEADER: "", "apim-subscription-id": KEY},
        {KEY_HEADER: KEY, "authorization": "Bearer nonsense"},
    ],
)
@pytest.mark.parametrize("called", [LOOP, loop(), None], ids=["loop", "loop without keys", "no loop"])
async def test_the_deployment_key_is_owner_of_all(headers: dict[str, str], called: Loop | None) -> None:
    assert await Access(KEY).roles(headers, called) == ALL


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("key", [ONE, TWO])
async def test_each_of_a_loops_keys_opens_it_alone(header: str, key: str) -> None:
    access = Access(KEY)

    assert await access.roles({header: key}, LOOP) == LOOP_KEY
    for other in (loop(), loop(OTHER, "b"), None):
        assert await refusal(access, {header: key}, other) == "The key is not one of this loop's keys."


async def test_a_key_that_was_replaced_opens_nothing() -> None:
    access = Access(KEY)
    rotated = loop(ONE, "key three")

    assert await access.roles({KEY_HEADER: "key three"}, rotated) == LOOP_KEY
    assert await access.roles({KEY_HEADER: ONE}, rotated) == LOOP_KEY
    await refusal(access, {KEY_HEADER: TWO}, rotated)


async def test_the_hash_of_a_key_is_no_key() -> None:
    access = Access(KEY)

    for hashed in (keys.digest(ONE).hex(), keys.digest(KEY).hex(), keys.digest(ONE).decode("latin-1")):
        await refusal(access, {KEY_HEADER: hashed})


async def test_the_header_may_be_spelled_in_any_case() -> None:
    request = HttpRequest("GET", "/", headers={"OCP-Apim-Subscription-KEY": ONE}, params={}, route_params={}, body=b"")

    assert await Access(KEY).roles(request.headers, LOOP) == LOOP_KEY


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {KEY_HEADER: ""},
        {"apim-subscription-id": ""},
        {"authorization": KEY},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer"},
        {"x-key": KEY},
        {"x-functions-key": KEY},
        {"cookie": f"{KEY_HEADER}={KEY}"},
    ],
)
async def test_a_call_without_a_key_is_told_where_to_send_it(headers: dict[str, str]) -> None:
    assert "Ocp-Apim-Subscription-Key" in await refusal(Access(KEY), headers)


@pytest.mark.parametrize(
    "headers",
    [
        {KEY_HEADER: KEY[:-1]},
        {KEY_HEADER: f"{KEY} "},
        {KEY_HEADER: KEY.title()},
        {KEY_HEADER: "clé 🔑"},
        {KEY_HEADER: "\ud800"},
        {KEY_HEADER: f"{ONE},{TWO}"},
        {KEY_HEADER: OTHER},
        {"apim-subscription-id": "another"},
        {KEY_HEADER: "another", "apim-subscription-id": KEY},
        {KEY_HEADER: "another", "authorization": "Bearer good"},
    ],
)
async def test_another_key_is_refused_without_a_word_of_any(headers: dict[str, str]) -> None:
    access = Access(KEY, Tokens(good="Rankloop.Owner"))

    assert await refusal(access, headers) == "The key is not one of this loop's keys."


async def test_a_key_that_is_not_ascii_opens() -> None:
    assert await Access("clé 🔑").roles({KEY_HEADER: "clé 🔑"}, None) == ALL
    assert await Access(KEY).roles({KEY_HEADER: "clé"}, loop("clé")) == LOOP_KEY


@pytest.mark.parametrize("given_", ["x", " ", "\0"])
async def test_a_deployment_without_a_key_has_no_owner_but_its_loops_keys_open(given_: str) -> None:
    access = Access("")

    assert "RANKLOOP_KEY" in await refusal(access, {KEY_HEADER: given_})
    assert "has no key" in await refusal(access, {KEY_HEADER: ""})
    assert await access.roles({KEY_HEADER: ONE}, LOOP) == LOOP_KEY


class Watched:
    """Stands for hmac, and tells what it compared."""

    def __init__(self) -> None:
        self.compared: list[tuple[bytes, bytes]] = []

    def compare_digest(self, a: bytes, b: bytes) -> bool:
        self.compared.append((a, b))
        return hmac.compare_digest(a, b)


@pytest.mark.parametrize("key", [KEY, ONE, TWO, "x", KEY + "x" * 1000])
async def test_all_keys_are_compared_in_constant_time_whichever_fits(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    watched = Watched()
    monkeypatch.setattr(roles, "hmac", watched)

    try:
        await Access(KEY).roles({KEY_HEADER: key}, LOOP)
    except ApiError:
        assert key not in (KEY, ONE, TWO)

    assert [(len(a), len(b)) for a, b in watched.compared] == [(32, 32)] * 3
    assert {held for _, held in watched.compared} == set(map(keys.digest, (KEY, ONE, TWO)))


@given(st.text(), st.text())
def test_no_text_but_the_key_opens(held: str, sent: str) -> None:
    async def opens() -> bool:
        try:
            return await Access(held).roles({KEY_HEADER: sent}, None) == ALL
        except ApiError:
            return False

    assert asyncio.run(opens()) == (sent in {key.strip() for key in held.split(",")} - {""})


async def test_while_a_deployment_key_is_changed_the_old_one_and_the_new_one_open() -> None:
    before, between, after = Access("old"), Access("new, old"), Access("new")

    for access, opening, refused in (
        (before, ["old"], "new"),
        (between, ["old", "new"], "old,"),
        (after, ["new"], "old"),
    ):
        for key in opening:
            assert await access.roles({KEY_HEADER: key}, None) == ALL
        for key in (refused, "new, old", ",", " "):
            await refusal(access, {KEY_HEADER: key})
    assert "RANKLOOP_KEY" in await refusal(Access(" , "), {KEY_HEADER: "x"})


# -- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "held"),
    [
        ("Rankloop.Call", Role.CALL),
        ("Rankloop.Read", Role.READ),
        ("Rankloop.Manage", Role.MANAGE),
        ("Rankloop.Owner", ALL),
        ("Rankloop.Call Rankloop.Read", Role.CALL | Role.READ),
        ("Rankloop.Call Rankloop.Owner", ALL),
        ("", Role.NONE),
        ("User.Read rankloop.owner Rankloop.owner RANKLOOP.OWNER Rankloop.Owners Rankloop OWNER Owner", Role.NONE),
        ("Rankloop.None Rankloop.ALL", Role.NONE),
    ],
)
@pytest.mark.parametrize("called", [LOOP, None], ids=["loop", "no loop"])
async def test_a_token_holds_what_its_app_roles_say(names: str, held: Role, called: Loop | None) -> None:
    tokens = Tokens(good=names)

    assert await Access(KEY, tokens).roles({"authorization": "Bearer good"}, called) == held
    assert tokens.seen == ["good"]


@pytest.mark.parametrize("spelled", ["Bearer good", "bearer good", "BEARER good", "Bearer   good  "])
async def test_the_scheme_may_be_spelled_in_any_case(spelled: str) -> None:
    access = Access(KEY, Tokens(good="Rankloop.Read"))

    assert await access.roles({"authorization": spelled}, LOOP) == Role.READ
    assert await access.roles({KEY_HEADER: "", "authorization": spelled}, LOOP) == Role.READ


@pytest.mark.parametrize("token", ["bad", "", " ", "good bad", KEY, ONE])
async def test_a_token_that_does_not_count_is_refused(token: str) -> None:
    access = Access(KEY, Tokens(good="Rankloop.Owner"))

    assert await refusal(access, {"authorization": f"Bearer {token}"}) == "The token is none of ours."


async def test_a_key_stands_before_a_token() -> None:
    tokens = Tokens(good="Rankloop.Owner")

    assert await Access(KEY, tokens).roles({KEY_HEADER: ONE, "authorization": "Bearer good"}, LOOP) == LOOP_KEY
    assert tokens.seen == []


async def test_a_deployment_that_takes_no_tokens_says_so() -> None:
    assert "RANKLOOP_ENTRA_TENANT" in await refusal(Access(KEY), {"authorization": "Bearer good"})
    assert "RANKLOOP_ENTRA_TENANT" in await refusal(Access(KEY), {"authorization": f"Bearer {KEY}"})
