"""Turns a bearer token into the roles it holds, or a 401 that says what is wrong.

Tokens are access tokens of Microsoft Entra ID: JSON Web Tokens (RFC 7519). docs/entra.md tells operators what to
register. PyJWT and cryptography are imported by the first token; see `discovery`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from shared.access.discovery import Discovery, Fetch, check_authority, check_tenant, fetch_https
from shared.config import Config
from shared.contract.errors import ApiError

CALL: Final = "Rankloop.Call"
READ: Final = "Rankloop.Read"
MANAGE: Final = "Rankloop.Manage"
OWNER: Final = "Rankloop.Owner"
APP_ROLES: Final = frozenset({CALL, READ, MANAGE, OWNER})
"""The app roles that count."""

PUBLIC_AUTHORITY = "https://login.microsoftonline.com"
COGNITIVE_SERVICES = "https://cognitiveservices.azure.com"
"""The audience that the SDKs ask for unless told otherwise (contract 1.1)."""

LEEWAY = 60
"""Seconds by which the clocks of Entra and of this machine may differ."""
REMEMBERED = 300
"""Seconds for which a token that was found valid is not verified again."""
MAX_REMEMBERED = 1000
MAX_TOKEN = 16 * 1024


class Tokens:
    """The tokens that open the deployment.

    Args:
        tenant: whose tokens: its id, or a domain of it.
        audiences: for whom they must be made, each as it stands in `aud`.
        authority: the address of the Entra cloud.
        fetch: gets what the tenant publishes.
        now: seconds since the epoch.

    Raises:
        ConfigError: tenant or authority is not one.
    """

    def __init__(
        self,
        tenant: str,
        audiences: frozenset[str],
        authority: str = PUBLIC_AUTHORITY,
        fetch: Fetch = fetch_https,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._authority = check_authority(authority)
        # Entra repeats the resource as it was asked for, and some libraries ask for this one with a slash.
        self._audiences = audiences | ({f"{COGNITIVE_SERVICES}/"} if COGNITIVE_SERVICES in audiences else set())
        self._now = now
        self._published = Discovery(check_tenant(tenant), self._authority, fetch, now)
        self._valid: dict[bytes, tuple[float, frozenset[str]]] = {}

    async def roles(self, token: str) -> frozenset[str]:
        """The app roles that a token holds, of those in `APP_ROLES`; there may be none.

        Args:
            token: what follows `Bearer ` in the header Authorization.

        Raises:
            ApiError: Unauthorized, and what is wrong with the token; OperationNotAllowed where the tenant's keys
                cannot be had, so that nothing can be told.
        """
        if len(token) > MAX_TOKEN or not token.isascii():
            raise _unreadable()
        digest = hashlib.sha256(token.encode()).digest()
        until, roles = self._valid.get(digest, (0.0, frozenset()))
        if self._now() < until:
            return roles
        claims = await self._verified(token)
        until = min(self._checked(claims), self._now() + REMEMBERED)
        held = claims.get("roles")
        roles = frozenset(role for role in APP_ROLES if role in held) if isinstance(held, list) else frozenset()
        if len(self._valid) >= MAX_REMEMBERED:
            del self._valid[next(iter(self._valid))]
        self._valid[digest] = until, roles
        return roles

    async def _verified(self, token: str) -> dict[str, Any]:
        """The claims of a token that the tenant has signed."""
        import jwt

        jws = jwt.PyJWS(["RS256"], {"verify_signature": True, "enforce_minimum_key_length": True})
        try:
            header = jws.get_unverified_header(token)
        except jwt.PyJWTError:
            raise _unreadable() from None
        # Before anything else: `none` needs no key, and HS256 would take the public one for a shared secret.
        if header.get("alg") != "RS256":
            raise _refused(f"is signed by the algorithm {_shown(header.get('alg'))}; only RS256 is accepted")
        if "kid" not in header:
            raise _refused("does not name its signing key (kid)")
        kid = _shown(header["kid"])
        key = await self._published.key(header["kid"])
        if key is None:
            raise _refused(f"names the signing key {kid}, which the tenant does not publish")
        try:
            claims = orjson.loads(jws.decode(token, key, ["RS256"]))
        except jwt.PyJWTError:
            raise _refused(f"has a signature that the signing key {kid} has not made") from None
        except ValueError:
            raise _unreadable() from None
        if not isinstance(claims, dict):
            raise _unreadable()
        return claims

    def _checked(self, claims: Mapping[str, Any]) -> float:
        """See that a token is of this tenant, for this deployment and of this time; returns when it expires."""
        tenant = self._published.tenant_id
        issuers = [f"{self._authority}/{tenant}/v2.0"]
        if self._authority == PUBLIC_AUTHORITY:
            issuers.append(f"https://sts.windows.net/{tenant}/")  # of v1 tokens, which a new registration gets
        if claims.get("iss") not in issuers:
            raise _refused(f"was issued by {_shown(claims.get('iss'))} (iss); expected {' or '.join(issuers)}")
        if claims.get("tid") != tenant:
            raise _refused(f"is of the tenant {_shown(claims.get('tid'))} (tid); expected {tenant}")
        named = claims.get("aud")
        named = [one for one in (named if isinstance(named, list) else [named]) if isinstance(one, str)]
        if self._audiences.isdisjoint(named):
            expected = " or ".join(sorted(self._audiences))
            raise _refused(f"is for {' and '.join(map(_shown, named[:3])) or 'nobody'} (aud); expected {expected}")
        now = self._now()
        expires, begins = claims.get("exp"), claims.get("nbf", now)
        if not isinstance(expires, int | float) or not isinstance(begins, int | float):
            raise _refused("does not say in numbers until when (exp) and from when (nbf) it is valid")
        if expires + LEEWAY <= now:
            raise _refused(f"expired {now - expires:.0f} s ago (exp)")
        if begins - LEEWAY > now:
            raise _refused(f"is not valid before {begins - now:.0f} s from now (nbf)")
        return expires


def of(settings: Config) -> Tokens | None:
    """The tokens that open a deployment; None where it has no tenant.

    Raises:
        ConfigError: tenant or authority is not one.
    """
    if not settings.entra_tenant:
        return None
    return Tokens(settings.entra_tenant, settings.entra_audiences, settings.entra_authority)


def _refused(why: str) -> ApiError:
    return ApiError("Unauthorized", f"The bearer token {why}.")


def _unreadable() -> ApiError:
    return _refused("cannot be read: it is no JSON Web Token")


def _shown(value: object) -> str:
    """A claim for a message: quoted, and no longer than an honest one."""
    return repr(value[:128]) if isinstance(value, str) else "nothing" if value is None else "something else than text"
