"""Turns the key that a call carries into leave to go on, or a 401 that says what was missing (contract 1.1)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from shared.contract.errors import ApiError

HEADERS = ("ocp-apim-subscription-key", "apim-subscription-id")
"""Where a key may stand. The second is what a published quickstart sends in place of the first."""


class Keys:
    """The keys that open the deployment; only their hashes are kept.

    Args:
        deployment_key: opens everything; an empty one opens nothing.
    """

    def __init__(self, deployment_key: str) -> None:
        self._digest = _digest(deployment_key) if deployment_key else None

    def check(self, headers: Mapping[str, str]) -> None:
        """Let a call pass.

        Args:
            headers: of the request; looked up in lower case.

        Raises:
            ApiError: Unauthorized.
        """
        given = next((headers[name] for name in HEADERS if headers.get(name)), None)
        if given is None:
            raise ApiError("Unauthorized", "The call has no key: send it in the header Ocp-Apim-Subscription-Key.")
        if self._digest is None:
            raise ApiError("Unauthorized", "This deployment has no key yet: set RANKLOOP_KEY.")
        if not hmac.compare_digest(_digest(given), self._digest):
            raise ApiError("Unauthorized", "The key is not one of this loop's keys.")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
