from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.access import tokens
from shared.access.tokens import APP_ROLES, LEEWAY, MAX_TOKEN, PUBLIC_AUTHORITY, REMEMBERED, Tokens
from shared.config import ConfigError
from shared.contract.errors import ApiError
from tests.integration.jwks import AUDIENCE, TENANT, Entra, public_pem, segment, sign

NOW = 1_800_000_000.0
OTHER_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
RS256 = {"typ": "JWT", "alg": "RS256", "kid": "one"}


class Desk:
    """A tenant of the public cloud without a network, and the tokens that a deployment accepts of it."""

    def __init__(self, *audiences: str, tenant: str = TENANT, authority: str = PUBLIC_AUTHORITY) -> None:
        self.entra = Entra(authority)
        self.time = NOW
        self.fetched: list[str] = []
        self.tokens = Tokens(tenant, frozenset(audiences or {AUDIENCE}), authority, self.fetch, lambda: self.time)

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return json.dumps(self.entra.documents()[url.removeprefix(self.entra.authority)]).encode()

    def token(self, *roles: str, key: str = "one", kid: str | None = None, **changed: object) -> str:
        return self.entra.token(*roles, key=key, kid=kid, now=self.time, **changed)

    async def roles(self, token: str) -> frozenset[str]:
        return await self.tokens.roles(token)

    async def refusal(self, token: str) -> str:
        with pytest.raises(ApiError) as caught:
            await self.tokens.roles(token)
        assert (caught.value.code, caught.value.status) == ("Unauthorized", 401)
        message = caught.value.message
        assert message.startswith("The bearer token ")
        for part in token.split("."):
            assert len(part) < 8 or part not in message
        return message


async def test_a_token_holds_the_app_roles_that_it_names() -> None:
    desk = Desk()

    assert await desk.roles(desk.token("Rankloop.Call")) == {"Rankloop.Call"}
    names = ("Rankloop.Call", "Rankloop.Read", "Rankloop.Manage", "Rankloop.Owner")
    assert await desk.roles(desk.token(*names)) == set(names)


async def test_names_of_roles_that_are_not_ours_count_for_nothing() -> None:
    desk = Desk()

    held = await desk.roles(desk.token("Rankloop.Read", "rankloop.owner", "Owner", "Rankloop.Owner ", "*"))
    assert held == {"Rankloop.Read"}


@pytest.mark.parametrize(
    "claim", [None, "Rankloop.Owner", {"Rankloop.Owner": 1}, 7, True, [], [["Rankloop.Owner"]], [7, {}, None]]
)
async def test_a_token_without_a_list_of_roles_holds_none(claim: object) -> None:
    desk = Desk()

    assert await desk.roles(desk.token(roles=claim)) == frozenset()


async def test_a_v1_token_of_the_public_cloud_is_accepted() -> None:
    desk = Desk()

    token = desk.token("Rankloop.Call", iss=f"https://sts.windows.net/{TENANT}/", ver="1.0")
    assert await desk.roles(token) == {"Rankloop.Call"}


async def test_another_cloud_issues_v2_tokens_only() -> None:
    desk = Desk(authority="https://login.microsoftonline.us")

    assert await desk.roles(desk.token("Rankloop.Call")) == {"Rankloop.Call"}
    assert "sts.windows.net" in await desk.refusal(desk.token(iss=f"https://sts.windows.net/{TENANT}/"))


async def test_the_tenant_may_be_written_in_capitals() -> None:
    desk = Desk(tenant=TENANT.upper(), authority=PUBLIC_AUTHORITY + "/")

    desk.entra.authority = PUBLIC_AUTHORITY
    assert await desk.roles(desk.token("Rankloop.Call")) == {"Rankloop.Call"}


@pytest.mark.parametrize(
    "issuer",
    [
        None,
        f"https://login.microsoftonline.com/{OTHER_TENANT}/v2.0",
        f"https://sts.windows.net/{OTHER_TENANT}/",
        f"https://sts.windows.net/{TENANT}",
        f"https://login.microsoftonline.com/{TENANT}/v2.0/",
        f"https://login.microsoftonline.us/{TENANT}/v2.0",
        "https://login.microsoftonline.com/{tenantid}/v2.0",
        [f"https://sts.windows.net/{TENANT}/"],
        {},
    ],
)
async def test_a_token_of_another_issuer_is_refused(issuer: object) -> None:
    desk = Desk()

    message = await desk.refusal(desk.token("Rankloop.Owner", iss=issuer))
    assert "(iss)" in message
    assert message.endswith(f"{PUBLIC_AUTHORITY}/{TENANT}/v2.0 or https://sts.windows.net/{TENANT}/.")


@pytest.mark.parametrize("tenant", [None, OTHER_TENANT, TENANT.upper(), [TENANT], 7])
async def test_a_token_of_another_tenant_is_refused(tenant: object) -> None:
    desk = Desk()

    assert "(tid)" in await desk.refusal(desk.token("Rankloop.Owner", tid=tenant))


@pytest.mark.parametrize(
    "audience", [None, "", "rankloop", "api://rankloop/", "API://RANKLOOP", "api://rankloop api://x", [], ["x"], {}, 7]
)
async def test_a_token_for_somebody_else_is_refused(audience: object) -> None:
    desk = Desk()

    message = await desk.refusal(desk.token("Rankloop.Owner", aud=audience))
    assert message.endswith("(aud); expected api://rankloop.")


async def test_a_token_may_be_for_several() -> None:
    desk = Desk("api://rankloop", "6e74172b-be56-4843-9ff4-e66a39bb12e3")

    assert await desk.roles(desk.token("Rankloop.Call", aud=["https://other", AUDIENCE])) == {"Rankloop.Call"}
    assert await desk.roles(desk.token("Rankloop.Call", aud="6e74172b-be56-4843-9ff4-e66a39bb12e3"))
    message = await desk.refusal(desk.token(aud=["a", 7, "b", "c", "d"]))
    assert "is for 'a' and 'b' and 'c' (aud)" in message


async def test_the_audience_of_the_sdks_counts_only_where_it_is_configured() -> None:
    bare, slashed = "https://cognitiveservices.azure.com", "https://cognitiveservices.azure.com/"

    assert "(aud)" in await Desk().refusal(Desk().token(aud=bare))
    configured = Desk(AUDIENCE, bare)
    assert await configured.roles(configured.token("Rankloop.Call", aud=bare)) == {"Rankloop.Call"}
    assert await configured.roles(configured.token("Rankloop.Call", aud=slashed)) == {"Rankloop.Call"}
    only_slashed = Desk(slashed)
    assert "(aud)" in await only_slashed.refusal(only_slashed.token(aud=bare))


async def test_a_token_counts_until_it_has_expired() -> None:
    desk = Desk()

    assert await desk.roles(desk.token("Rankloop.Call", exp=NOW - LEEWAY + 1)) == {"Rankloop.Call"}
    assert "expired 60 s ago (exp)" in await desk.refusal(desk.token("Rankloop.Call", exp=NOW - LEEWAY))


async def test_a_token_counts_from_when_it_is_valid() -> None:
    desk = Desk()

    assert await desk.roles(desk.token("Rankloop.Call", nbf=NOW + LEEWAY)) == {"Rankloop.Call"}
    assert await desk.roles(desk.token("Rankloop.Call", nbf=None)) == {"Rankloop.Call"}
    assert "not valid before 61 s from now (nbf)" in await desk.refusal(desk.token(nbf=NOW + LEEWAY + 1))


@pytest.mark.parametrize(
    "changed", [{"exp": None}, {"exp": "1900000000"}, {"exp": [NOW]}, {"exp": {}}, {"nbf": "0"}, {"nbf": []}]
)
async def test_times_that_are_no_numbers_are_refused(changed: dict[str, Any]) -> None:
    desk = Desk()

    assert "in numbers" in await desk.refusal(desk.token("Rankloop.Owner", **changed))


async def test_a_token_with_a_null_start_is_refused() -> None:
    desk = Desk()

    payload = json.dumps({**desk.entra.claims(now=NOW), "nbf": None}).encode()
    assert "in numbers" in await desk.refusal(sign(RS256, payload, "one"))


async def test_a_token_signed_by_another_key_under_the_same_id_is_refused() -> None:
    desk = Desk()

    assert "'one' has not made" in await desk.refusal(desk.token("Rankloop.Owner", key="two", kid="one"))


async def test_a_token_that_was_changed_after_signing_is_refused() -> None:
    desk = Desk()

    header, _, signature = desk.token("Rankloop.Call").split(".")
    payload = segment(json.dumps(desk.entra.claims("Rankloop.Owner", now=NOW)).encode())
    assert "'one' has not made" in await desk.refusal(f"{header}.{payload}.{signature}")
    assert "'one' has not made" in await desk.refusal(f"{header}.{payload}.")


def mac(header: dict[str, object], claims: dict[str, object], secret: bytes) -> str:
    signed = f"{segment(json.dumps(header).encode())}.{segment(json.dumps(claims).encode())}"
    return f"{signed}.{segment(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


async def test_the_public_key_is_no_shared_secret() -> None:
    desk = Desk()

    forged = mac({**RS256, "alg": "HS256"}, desk.entra.claims("Rankloop.Owner", now=NOW), public_pem("one"))
    assert "'HS256'; only RS256 is accepted" in await desk.refusal(forged)
    assert desk.fetched == []


@pytest.mark.parametrize("algorithm", ["none", "None", "", "rs256", "RS384", "PS256", "ES256", None, ["RS256"], {}, 7])
async def test_any_algorithm_but_rs256_is_refused(algorithm: object) -> None:
    desk = Desk()

    payload = json.dumps(desk.entra.claims("Rankloop.Owner", now=NOW)).encode()
    signed = sign({**RS256, "alg": algorithm}, payload, "one")
    assert "only RS256 is accepted" in await desk.refusal(signed)
    assert "only RS256 is accepted" in await desk.refusal(signed.rpartition(".")[0] + ".")


async def test_a_token_that_names_no_algorithm_or_no_key_is_refused() -> None:
    desk = Desk()

    assert "algorithm nothing" in await desk.refusal(sign({"kid": "one"}, b"{}", "one"))
    assert "does not name its signing key (kid)" in await desk.refusal(sign({"alg": "RS256"}, b"{}", "one"))


async def test_a_token_of_a_key_that_the_tenant_does_not_publish_is_refused() -> None:
    desk = Desk()

    assert "the signing key 'two', which the tenant does not publish" in await desk.refusal(desk.token(key="two"))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "correct horse",
        "é.é.é",
        "\ud800",
        "x" * 100_000,
        segment(b"[]") + ".e30.e30",
        segment(b"null") + ".e30.e30",
        segment(b'{"alg":"RS256","kid":7}') + ".e30.e30",
        segment(b'{"alg":"RS256","kid":"one","crit":["x"],"x":1}') + ".e30.e30",
        segment(b"[" * 5000) + ".e30.e30",
        segment(b"\xff\xfe") + ".e30.e30",
    ],
    ids=lambda token: repr(token[:24]),
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    desk = Desk()

    assert "cannot be read" in await desk.refusal(token)
    assert desk.fetched == []


async def test_a_token_longer_than_any_of_entras_is_refused() -> None:
    desk = Desk()

    assert "cannot be read" in await desk.refusal(desk.token("Rankloop.Owner", name="x" * MAX_TOKEN))


async def test_a_refusal_quotes_no_more_than_the_beginning_of_a_claim() -> None:
    desk = Desk()

    assert len(await desk.refusal(desk.token(iss="x" * 8000))) < 500


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b"null", b'"x"', b"[" * 5000, b"\xff", b'{"exp":NaN}'])
async def test_a_signed_payload_that_holds_no_claims_is_refused(payload: bytes) -> None:
    desk = Desk()

    assert "cannot be read" in await desk.refusal(sign(RS256, payload, "one"))


async def test_a_detached_payload_is_refused() -> None:
    desk = Desk()

    header, _, signature = sign({**RS256, "b64": False, "crit": ["b64"]}, b"{}", "one").split(".")
    assert "'one' has not made" in await desk.refusal(f"{header}..{signature}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
CLAIMS = ("aud", "iss", "exp", "nbf", "tid", "roles", "iat", "ver")


@given(st.dictionaries(st.sampled_from(CLAIMS), JSON), st.dictionaries(st.sampled_from(["alg", "kid", "crit"]), JSON))
def test_hostile_claims_are_refused_or_hold_no_role(claims: dict[str, Any], header: dict[str, Any]) -> None:
    desk = Desk()

    async def present() -> None:
        for named in (RS256, {**RS256, **header}):
            token = sign(named, json.dumps({**desk.entra.claims(now=NOW), **claims}).encode(), "one")
            try:
                assert await desk.roles(token) <= APP_ROLES
            except ApiError as e:
                assert e.status == 401
                assert len(e.body()) < 2000

    asyncio.run(present())


@contextmanager
def verifications(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The tokens whose signature is looked at in this block."""
    seen: list[str] = []
    verified = Tokens._verified

    async def watched(self: Tokens, token: str) -> dict[str, Any]:
        seen.append(token)
        return await verified(self, token)

    with monkeypatch.context() as patched:
        patched.setattr(Tokens, "_verified", watched)
        yield seen


async def test_a_valid_token_is_verified_once_in_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    token = desk.token("Rankloop.Call")

    with verifications(monkeypatch) as seen:
        for after in (0, 1, REMEMBERED - 1):
            desk.time = NOW + after
            assert await desk.roles(token) == {"Rankloop.Call"}
        assert len(seen) == 1
        desk.time = NOW + REMEMBERED
        assert await desk.roles(token) == {"Rankloop.Call"}
        assert len(seen) == 2


async def test_a_token_is_not_remembered_beyond_its_end() -> None:
    desk = Desk()
    token = desk.token("Rankloop.Call", exp=NOW + 10)

    assert await desk.roles(token)
    desk.time = NOW + 10 + LEEWAY
    assert "expired" in await desk.refusal(token)


async def test_a_refused_token_is_not_remembered() -> None:
    desk = Desk()
    token = desk.token("Rankloop.Call", nbf=NOW + 100)

    await desk.refusal(token)
    desk.time = NOW + 100
    assert await desk.roles(token) == {"Rankloop.Call"}


async def test_tokens_of_the_same_claims_are_told_apart() -> None:
    desk = Desk()
    token = desk.token("Rankloop.Owner")

    assert await desk.roles(token)
    assert "has not made" in await desk.refusal(token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB"))


async def test_so_many_tokens_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 2)
    desk = Desk()
    first, second, third = (desk.token("Rankloop.Call", sub=name) for name in "abc")

    with verifications(monkeypatch) as seen:
        for token in (first, second, third, second, third):
            assert await desk.roles(token)
        assert seen == [first, second, third]
        assert await desk.roles(first)
        assert seen == [first, second, third, first]


async def test_tokens_themselves_are_not_kept() -> None:
    desk = Desk()
    token = desk.token("Rankloop.Call")
    await desk.roles(token)

    kept = [attribute for attribute in vars(desk.tokens).values() if isinstance(attribute, dict)]
    assert kept
    assert token not in repr(kept)
    assert all(len(digest) == 32 for digest in kept[0])


async def test_without_the_tenants_keys_nothing_can_be_told(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    token = desk.token("Rankloop.Call")

    async def down(url: str) -> bytes:
        raise OSError("no route to host")

    blind = Tokens(TENANT, frozenset({AUDIENCE}), fetch=down, now=lambda: NOW)
    with pytest.raises(ApiError) as caught:
        await blind.roles(token)
    assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("OperationNotAllowed", 503, 5)
    assert "no route to host" in caplog.text
    for part in token.split("."):
        assert part not in caplog.text + caught.value.message


@pytest.mark.parametrize(("tenant", "authority"), [("common", PUBLIC_AUTHORITY), (TENANT, "http://evil.example")])
def test_settings_that_would_let_in_strangers_are_refused(tenant: str, authority: str) -> None:
    with pytest.raises(ConfigError):
        Tokens(tenant, frozenset({AUDIENCE}), authority)


def test_a_deployment_without_tokens_does_not_pay_for_them() -> None:
    found = "import sys, shared.access.tokens; print({'jwt', 'cryptography', 'aiohttp'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


async def test_over_http() -> None:
    with Entra() as entra:
        accepted = Tokens(TENANT, frozenset({AUDIENCE}), entra.authority)

        assert await accepted.roles(entra.token("Rankloop.Call", "Rankloop.Read")) == {"Rankloop.Call", "Rankloop.Read"}
        assert await accepted.roles(entra.token("Rankloop.Manage")) == {"Rankloop.Manage"}
    assert entra.asked == [f"/{TENANT}/discovery/v2.0/keys"]
