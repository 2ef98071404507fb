"""Turns the key or token that a call carries into the roles it holds, or a 401 that says what was missing."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from enum import Flag, auto
from typing import Final, Protocol

from shared.access.tokens import CALL, MANAGE, OWNER, READ
from shared.contract.errors import ApiError
from shared.loops.keys import digest
from shared.loops.settings import Loop

HEADERS = ("ocp-apim-subscription-key", "apim-subscription-id")
"""Where a key may stand. The second is what a published quickstart sends in place of the first (contract 1.1)."""
_BEARER = "bearer "


class Role(Flag):
    """What a caller may do: call (rank, reward, activate), read, manage, and own (loops and keys)."""

    NONE = 0
    CALL = auto()
    READ = auto()
    MANAGE = auto()
    OWNER = auto()


LOOP_KEY = Role.CALL | Role.READ | Role.MANAGE
"""What a loop's key holds, as Personalizer's did."""
ALL = LOOP_KEY | Role.OWNER
_BY_NAME: Final = {
    CALL: Role.CALL,
    READ: Role.READ,
    MANAGE: Role.MANAGE,
    OWNER: ALL,
}
"""Roles by the app role of an Entra ID token."""


class TokenRoles(Protocol):
    """Tells the app roles of a bearer token."""

    async def roles(self, token: str) -> frozenset[str]:
        """The names of the token's app roles; raises ApiError Unauthorized for a token that does not count."""
        ...


class Access:
    """Who may do what.

    Args:
        deployment_key: opens everything; an empty one opens nothing. Several, separated by commas, each do: so that
            callers can move from one to the next.
        tokens: validates bearer tokens, or None where the deployment takes none.
    """

    def __init__(self, deployment_key: str, tokens: TokenRoles | None = None) -> None:
        self._digests = [digest(key) for key in map(str.strip, deployment_key.split(",")) if key]
        self._tokens = tokens

    async def roles(self, headers: Mapping[str, str], loop: Loop | None) -> Role:
        """The roles of a call.

        Args:
            headers: of the request; looked up in lower case.
            loop: the loop that is called, whose keys count, or None where there is none of that name.

        Raises:
            ApiError: Unauthorized.
        """
        given = next((headers[name] for name in HEADERS if headers.get(name)), None)
        if given is not None:
            return self._roles_of_key(given, loop)
        authorization = headers.get("authorization", "")
        if authorization[: len(_BEARER)].lower() != _BEARER:
            raise ApiError("Unauthorized", "The call has no key: send it in the header Ocp-Apim-Subscription-Key.")
        if self._tokens is None:
            raise ApiError("Unauthorized", "This deployment takes no bearer tokens: set RANKLOOP_ENTRA_TENANT.")
        held = Role.NONE
        for name in await self._tokens.roles(authorization[len(_BEARER) :].strip()):
            held |= _BY_NAME.get(name, Role.NONE)
        return held

    def _roles_of_key(self, given: str, loop: Loop | None) -> Role:
        hashed = digest(given)
        # Every comparison is made, so that the time tells nothing of which one failed.
        owns = [hmac.compare_digest(hashed, key) for key in self._digests]
        opens = [hmac.compare_digest(hashed, key) for key in (loop.keys if loop else ())]
        if any(owns):
            return ALL
        if any(opens):
            return LOOP_KEY
        if not self._digests:
            message = "The key is not one of this loop's keys, and the deployment has none: set RANKLOOP_KEY."
            raise ApiError("Unauthorized", message)
        raise ApiError("Unauthorized", "The key is not one of this loop's keys.")
