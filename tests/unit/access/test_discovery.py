from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from shared.access import discovery
from shared.access.discovery import (
    FIRST_PAUSE,
    KEYS_LIFE,
    KEYS_PAUSE,
    MAX_DOCUMENT,
    Discovery,
    check_authority,
    check_tenant,
    fetch_https,
)
from shared.config import ConfigError
from shared.contract.errors import ApiError
from tests.integration.jwks import DOMAIN, TENANT, Entra, jwk

NOW = 1_800_000_000.0
AUTHORITY = "https://login.microsoftonline.com"
KEYS = f"{AUTHORITY}/{TENANT}/discovery/v2.0/keys"
OTHER_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"


class Net:
    """A tenant's documents without a network; each may be replaced, and all may be out of reach."""

    def __init__(self, tenant: str = TENANT) -> None:
        self.entra = Entra(AUTHORITY)
        self.time = NOW
        self.fetched: list[str] = []
        self.replaced: dict[str, bytes] = {}
        self.down = False
        self.asked = asyncio.Event()
        self.discovery = Discovery(tenant, AUTHORITY, self.fetch, lambda: self.time)

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        self.asked.set()
        await asyncio.sleep(0)
        if self.down:
            raise OSError("no route to host")
        if url in self.replaced:
            return self.replaced[url]
        return json.dumps(self.entra.documents()[url.removeprefix(AUTHORITY)]).encode()

    async def known(self, kid: str) -> bool:
        return await self.discovery.key(kid) is not None

    async def unavailable(self, kid: str = "one") -> None:
        with pytest.raises(ApiError) as caught:
            await self.discovery.key(kid)
        assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("OperationNotAllowed", 503, 5)


async def test_keys_are_fetched_once_a_day() -> None:
    net = Net()

    for after in (0, 1, KEYS_LIFE - 1):
        net.time = NOW + after
        assert await net.known("one")
    assert net.fetched == [KEYS]
    net.time = NOW + KEYS_LIFE
    assert await net.known("one")
    assert net.fetched == [KEYS] * 2


async def test_a_key_that_is_no_longer_published_is_forgotten_within_a_day() -> None:
    net = Net()
    assert await net.known("one")

    net.entra.keys = [jwk("two")]
    assert await net.known("one")
    net.time = NOW + KEYS_LIFE
    assert not await net.known("one")


async def test_an_unknown_key_id_leads_to_a_look_once_a_minute() -> None:
    net = Net()
    assert not await net.known("two")

    net.entra.keys.append(jwk("two"))
    net.time = NOW + KEYS_PAUSE - 1
    for kid in ("two", "three", ""):
        assert not await net.known(kid)
    assert net.fetched == [KEYS]
    net.time = NOW + KEYS_PAUSE
    assert await net.known("two")
    assert await net.known("one")
    assert not await net.known("three")
    assert net.fetched == [KEYS] * 2


async def test_callers_at_the_same_time_share_one_fetch() -> None:
    net = Net()

    assert await asyncio.gather(*(net.known(kid) for kid in ("one", "one", "two", "three"))) == [True] * 2 + [False] * 2
    assert net.fetched == [KEYS]


async def test_a_caller_that_goes_away_takes_the_fetch_from_nobody() -> None:
    net = Net()
    first, second = asyncio.ensure_future(net.known("one")), asyncio.ensure_future(net.known("one"))

    await net.asked.wait()
    first.cancel()
    assert await second
    assert first.cancelled()
    assert net.fetched == [KEYS]


async def test_the_keys_at_hand_go_on_serving_while_no_newer_can_be_had(caplog: pytest.LogCaptureFixture) -> None:
    net = Net()
    assert await net.known("one")

    net.down = True
    net.time = NOW + KEYS_LIFE * 3
    assert await net.known("one")
    assert await net.known("one")
    assert len(net.fetched) == 2
    assert [record.message for record in caplog.records] == [
        "the signing keys of the Entra tenant cannot be had; those fetched before stand: no route to host"
    ]


async def test_a_key_that_may_be_new_is_not_called_unknown_while_nobody_can_look() -> None:
    net = Net()
    assert await net.known("one")

    net.down = True
    net.time = NOW + KEYS_PAUSE
    await net.unavailable("two")
    net.down = False
    net.time = NOW + KEYS_PAUSE * 2
    assert not await net.known("two")


async def test_without_any_keys_a_look_is_had_every_five_seconds() -> None:
    net = Net()
    net.down = True

    await net.unavailable()
    net.time = NOW + FIRST_PAUSE - 1
    await net.unavailable()
    assert len(net.fetched) == 1
    net.down = False
    await net.unavailable()
    net.time = NOW + FIRST_PAUSE
    assert await net.known("one")
    assert len(net.fetched) == 2


async def test_a_clock_that_was_put_back_keeps_no_key_for_longer() -> None:
    net = Net()
    assert await net.known("one")

    net.entra.keys = [jwk("two")]
    net.time = NOW - 3600
    assert not await net.known("one")
    assert await net.known("two")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"keys":7}',
        b'{"keys":[]}',
        b'{"keys":[7]}',
        b'{"keys":[{"kty":"RSA","kid":7}]}',
        b"[" * 100_000,
        b'{"keys":[{"kty":"oct","kid":"one","k":"c2VjcmV0"}]}',
    ],
    ids=lambda document: repr(document[:24]),
)
async def test_a_document_that_is_no_key_set_counts_as_none(document: bytes) -> None:
    net = Net()
    net.replaced[KEYS] = document

    await net.unavailable()
    del net.replaced[KEYS]
    net.time = NOW + FIRST_PAUSE
    assert await net.known("one")
    net.replaced[KEYS] = document
    net.time += KEYS_LIFE
    assert await net.known("one")


@pytest.mark.parametrize(
    "changed",
    [
        {"kty": "EC"},
        {"use": "enc"},
        {"n": ""},
        {"n": "!"},
        {"e": "AA"},
        {"issuer": f"https://login.microsoftonline.com/{OTHER_TENANT}/v2.0"},
        {"issuer": ""},
    ],
    ids=str,
)
async def test_a_key_that_cannot_sign_for_the_tenant_is_left_out(changed: dict[str, object]) -> None:
    net = Net()
    net.entra.keys = [jwk("one", **changed), jwk("two")]

    assert not await net.known("one")
    assert await net.known("two")


async def test_keys_of_other_kinds_are_nothing_to_warn_of(caplog: pytest.LogCaptureFixture) -> None:
    net = Net()
    net.entra.keys = [jwk("one", kty="EC"), jwk("two"), jwk("three", n="")]

    assert await net.known("two")
    assert [record.message[:36] for record in caplog.records] == ["the tenant publishes the key 'three'"]


@pytest.mark.parametrize("changed", [{"issuer": f"{AUTHORITY}/{TENANT}/v2.0"}, {"x": 1}], ids=str)
async def test_a_key_of_the_tenant_itself_counts(changed: dict[str, object]) -> None:
    net = Net()
    net.entra.keys = [jwk("one", **changed)]

    assert await net.known("one")


async def test_a_key_need_not_say_more_than_its_numbers() -> None:
    net = Net()
    net.entra.keys = [{name: jwk("one")[name] for name in ("kty", "kid", "n", "e")}, jwk("two", kid="")]

    assert await net.known("one")
    assert not await net.known("")


async def test_a_private_key_that_is_published_by_mistake_is_taken_for_its_public_half() -> None:
    net = Net()
    net.entra.keys = [jwk("one", d="AQAB", p="AQAB", q="AQAB")]

    found = await net.discovery.key("one")
    assert found is not None
    assert not hasattr(found.key, "private_numbers")


async def test_a_tenant_that_is_given_by_a_domain_is_asked_for_its_id() -> None:
    net = Net(DOMAIN)
    assert net.discovery.tenant_id == ""

    assert await net.known("one")
    assert net.discovery.tenant_id == TENANT
    net.time += KEYS_LIFE
    assert await net.known("one")
    base = f"{AUTHORITY}/{DOMAIN}"
    keys = f"{base}/discovery/v2.0/keys"
    assert net.fetched == [f"{base}/v2.0/.well-known/openid-configuration", keys, keys]


@pytest.mark.parametrize(
    "metadata",
    [
        b"{}",
        b'{"issuer":7}',
        b'{"issuer":"https://login.microsoftonline.com/{tenantid}/v2.0"}',
        f'{{"issuer":"https://evil.example/{TENANT}/v2.0"}}'.encode(),
        f'{{"issuer":"{AUTHORITY}/{TENANT}/v2.0/x"}}'.encode(),
    ],
    ids=str,
)
async def test_a_domain_that_does_not_lead_to_one_tenant_opens_nothing(metadata: bytes) -> None:
    net = Net(DOMAIN)
    net.replaced[f"{AUTHORITY}/{DOMAIN}/v2.0/.well-known/openid-configuration"] = metadata

    await net.unavailable()
    assert net.discovery.tenant_id == ""


async def test_over_http_keys_may_be_rotated_and_the_server_go_down_and_come_back() -> None:
    now = NOW
    with Entra() as entra:
        found = Discovery(TENANT, entra.authority, fetch_https, lambda: now)
        assert await found.key("one") is not None
        entra.keys = [jwk("two")]
        now += KEYS_PAUSE
        assert await found.key("two") is not None
        assert await found.key("one") is None
    now += KEYS_LIFE
    assert await found.key("two") is not None
    with pytest.raises(ApiError, match="cannot be fetched"):
        await found.key("three")
    with entra:
        now += KEYS_LIFE
        assert await found.key("three") is None
    assert len(entra.asked) == 3


@pytest.mark.parametrize("tenant", [TENANT, "contoso.onmicrosoft.com", "a", "a" * 128])
def test_a_tenant_is_an_id_or_a_domain(tenant: str) -> None:
    assert check_tenant(tenant.upper()) == tenant


@pytest.mark.parametrize(
    "tenant", ["", "a" * 129, "a/b", "..", ".", "-a", "a b", "a\n", "a?b", "a#b", "é", "common", "Organizations"]
)
def test_what_is_no_tenant_is_refused(tenant: str) -> None:
    with pytest.raises(ConfigError, match="Entra tenant"):
        check_tenant(tenant)


@pytest.mark.parametrize(
    "authority",
    [AUTHORITY, "https://login.microsoftonline.us:443", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"],
)
def test_an_authority_is_https_or_on_this_machine(authority: str) -> None:
    assert check_authority(authority) == authority
    assert check_authority(authority + "/") == authority


@pytest.mark.parametrize(
    "authority",
    [
        "",
        "login.microsoftonline.com",
        "http://login.microsoftonline.com",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "https://a/b",
        "https://a?b",
        "https://a:b@c",
        "ftp://a",
        "https://a\n",
        "http://[",
    ],
)
async def test_anything_else_is_neither_an_authority_nor_fetched(authority: str) -> None:
    with pytest.raises(ConfigError, match="Entra authority"):
        check_authority(authority)
    if not authority.startswith("https://"):
        with pytest.raises(ValueError, match="not an https address"):
            await fetch_https(f"{authority}/keys")


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server that behaves as the path says."""
    over = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/silent":
                over.wait()
                return
            self.send_response({"/redirect": 302, "/fails": 500}.get(self.path, 200))
            if self.path == "/redirect":
                self.send_header("Location", "/long")
            if self.path == "/short":
                self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"x" * {"/long": MAX_DOCUMENT, "/longest": MAX_DOCUMENT + 1}.get(self.path, 0))

        def log_message(self, format: str, *args: object) -> None:
            return

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return  # the client had enough

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:
                return

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    over.set()
    served.shutdown()
    thread.join()
    served.server_close()


async def test_a_document_may_have_a_mebibyte_and_no_more(server: str) -> None:
    assert len(await fetch_https(f"{server}/long")) == MAX_DOCUMENT
    with pytest.raises(ValueError, match=f"more than {MAX_DOCUMENT} bytes"):
        await fetch_https(f"{server}/longest")


@pytest.mark.parametrize(
    ("path", "why"), [("redirect", "answered 302"), ("fails", "answered 500"), ("short", "could not be fetched")]
)
async def test_what_is_not_simply_answered_is_not_taken(server: str, path: str, why: str) -> None:
    with pytest.raises(OSError, match=why):
        await fetch_https(f"{server}/{path}")


async def test_a_server_that_says_nothing_is_not_waited_for(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert discovery.FETCH_TIMEOUT == 3.0
    monkeypatch.setattr(discovery, "FETCH_TIMEOUT", 0.05)

    with pytest.raises(OSError, match="did not answer within"):
        await fetch_https(f"{server}/silent")
