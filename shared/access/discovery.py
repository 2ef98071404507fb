"""Turns a Microsoft Entra tenant into its id and the keys it signs tokens with, as it publishes them.

OpenID Connect Discovery, with RFC 7517's key sets. PyJWT, cryptography and aiohttp are imported by the first look: a
deployment that is never sent a token must not pay for them at a cold start.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from shared.config import ConfigError
from shared.contract.errors import ApiError

if TYPE_CHECKING:
    from jwt import PyJWK

log = logging.getLogger("rankloop.discovery")

Fetch = Callable[[str], Awaitable[bytes]]
"""Turns a URL into the document there; raises OSError or ValueError where it cannot be had."""

KEYS_LIFE = 24 * 3600
"""Seconds after which the keys are fetched anew."""
KEYS_PAUSE = 60
"""Seconds between two fetches, so that tokens with invented key ids cannot cause one a call."""
FIRST_PAUSE = 5
"""The same while there are no keys yet, and nobody can be let in."""

MAX_DOCUMENT = 1024 * 1024
FETCH_TIMEOUT = 3.0

_GUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ORIGIN = r"(?:https://[A-Za-z0-9.-]+|http://(?:127\.0\.0\.1|localhost|\[::1\]))(?::\d{1,5})?"
"""Where keys may come from: over TLS, or from this machine."""


def check_tenant(tenant: str) -> str:
    """A tenant's id (GUID) or one of its domains, in lower case.

    Raises:
        ConfigError: it is neither. `common` and its like are refused, too: they stand for every tenant.
    """
    tenant = tenant.lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,127}", tenant):
        raise ConfigError(f"the Entra tenant must be its id or a domain of it; it is {tenant[:64]!r}")
    if tenant in ("common", "organizations", "consumers"):
        raise ConfigError(f"the Entra tenant must be one tenant; {tenant} stands for any")
    return tenant


def check_authority(authority: str) -> str:
    """The address of an Entra cloud, without a trailing slash.

    Raises:
        ConfigError: it is not an https address (http on loopback), or has more than host and port.
    """
    authority = authority.rstrip("/")
    if not re.fullmatch(_ORIGIN, authority):
        raise ConfigError(f"the Entra authority must be https://<host>; it is {authority[:64]!r}")
    return authority


async def fetch_https(url: str) -> bytes:
    """The document at an https URL (http on loopback): within 3 s, 1 MiB at most, no redirect followed.

    Raises:
        OSError: it cannot be had.
        ValueError: the URL is not https, or the document is too long.
    """
    if not re.match(f"{_ORIGIN}/", url):
        raise ValueError(f"{url} is not an https address")
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT)
    document = bytearray()
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise OSError(f"{url} answered {response.status}")
            async for chunk in response.content.iter_any():
                document += chunk
                if len(document) > MAX_DOCUMENT:
                    raise ValueError(f"{url} answered more than {MAX_DOCUMENT} bytes")
    except TimeoutError as e:
        raise OSError(f"{url} did not answer within {FETCH_TIMEOUT:g} s") from e
    except aiohttp.ClientError as e:
        raise OSError(f"{url} could not be fetched: {e}") from e
    return bytes(document)


class Discovery:
    """What a tenant publishes, kept for a day, and for as long as nothing newer can be had.

    Args:
        tenant, authority: as `check_tenant` and `check_authority` return them.
        fetch: gets the documents.
        now: seconds since the epoch.

    Attributes:
        tenant_id: the tenant's GUID; of a tenant that was given by a domain it is empty until `key` has returned.
    """

    def __init__(self, tenant: str, authority: str, fetch: Fetch, now: Callable[[], float]) -> None:
        self.tenant_id = tenant if re.fullmatch(_GUID, tenant) else ""
        self._base = f"{authority}/{tenant}"
        self._issuer = re.compile(f"{re.escape(authority)}/({_GUID})/v2\\.0")
        self._fetch = fetch
        self._now = now
        self._keys: dict[str, PyJWK] = {}
        self._fetched = self._tried = -float("inf")
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> PyJWK | None:
        """The key of this id, or None where the tenant publishes none.

        Raises:
            ApiError: OperationNotAllowed, since that cannot be told at the moment.
        """
        if kid not in self._keys or not self._within(KEYS_LIFE, self._fetched):
            await self._look()
        if kid not in self._keys and self._failed:
            message = "The signing keys of Microsoft Entra ID cannot be fetched at the moment; try again."
            raise ApiError("OperationNotAllowed", message, retry_after=FIRST_PAUSE)
        return self._keys.get(kid)

    async def _look(self) -> None:
        if self._task is None:
            if self._within(KEYS_PAUSE if self._keys else FIRST_PAUSE, self._tried):
                return
            self._tried = self._now()
            self._task = asyncio.ensure_future(self._run())
        await asyncio.shield(self._task)  # a caller that goes away takes nothing from the others

    async def _run(self) -> None:
        try:
            if not self.tenant_id:
                self.tenant_id = await self._named()
            self._keys = _signing_keys(await self._fetch(f"{self._base}/discovery/v2.0/keys"), self.tenant_id)
            self._fetched = self._tried
            self._failed = False
        except (OSError, ValueError) as e:
            self._failed = True
            log.warning("the signing keys of the Entra tenant cannot be had; those fetched before stand: %s", e)
        finally:
            self._task = None

    async def _named(self) -> str:
        """The id of a tenant that was given by a domain: tokens name the id alone."""
        document = await self._fetch(f"{self._base}/v2.0/.well-known/openid-configuration")
        issuer = msgspec.json.decode(document, type=_Metadata).issuer
        found = self._issuer.fullmatch(issuer)
        if found is None:
            raise ValueError(f"the tenant issues as {issuer[:128]!r}, which is not of the configured authority")
        return found[1]

    def _within(self, span: float, then: float) -> bool:
        # Below 0 where the wall clock was put back: that must not keep old keys for longer.
        return 0 <= self._now() - then < span


class _Metadata(msgspec.Struct):
    issuer: str


class _Key(msgspec.Struct):
    """A JSON Web Key, with the issuer that Entra adds."""

    kty: str
    kid: str = ""
    use: str = "sig"
    n: str = ""
    e: str = ""
    issuer: str = "{tenantid}"


class _KeySet(msgspec.Struct):
    keys: list[_Key]


def _signing_keys(document: bytes, tenant_id: str) -> dict[str, PyJWK]:
    """The RSA signing keys of a key set, by id; each verifies RS256 and nothing else.

    Entra publishes keys of one tenant beside keys of all ("{tenantid}"); one of another tenant signs nothing for us.

    Raises:
        ValueError: it is no key set, or holds no such key.
    """
    import jwt

    keys = {}
    for one in msgspec.json.decode(document, type=_KeySet).keys:
        ours = "{tenantid}" in one.issuer or tenant_id in one.issuer
        if one.kty == "RSA" and one.use == "sig" and one.kid and ours:
            try:
                keys[one.kid] = jwt.PyJWK({"kty": one.kty, "n": one.n, "e": one.e}, "RS256")
            except jwt.PyJWTError as e:
                log.warning("the tenant publishes the key %r, which cannot be read: %s", one.kid[:128], e)
    if not keys:
        raise ValueError("the tenant publishes no RSA signing key")
    return keys
