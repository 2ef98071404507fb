"""Turns the keys of the host into yes or no for a request that carries one, or none."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Keys:
    """The function key opens functions of level `function`, the master key everything.

    Nothing is asked where `enforced` is false, which is what `func start` does without --enableAuth.
    """

    enforced: bool
    function: str = field(repr=False)
    master: str = field(repr=False)
    made_up: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, enforced: bool) -> Keys:
        """Take HOST_FUNCTION_KEY and HOST_MASTER_KEY, or make keys up where they are not set."""
        function, master = environ.get("HOST_FUNCTION_KEY"), environ.get("HOST_MASTER_KEY")
        return cls(
            enforced=enforced,
            function=function or secrets.token_urlsafe(32),
            master=master or secrets.token_urlsafe(32),
            made_up=not (function or master),
        )

    def to_be_logged(self, *, replicas: bool) -> bool:
        """Whether the log may hold them: where this process alone has them, and nobody could know them otherwise.

        Those of a replica are of no use to callers, who cannot tell which one they reach; its log is likely to be kept.
        """
        return self.enforced and self.made_up and not replicas

    def admit(self, level: str, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        """Whether a request may use what asks for the level `anonymous`, `function` or `admin`."""
        if not self.enforced or level == "anonymous":
            return True
        # The header wins even where it is wrong and the query's key right.
        given = (headers["x-functions-key"] if "x-functions-key" in headers else query.get("code", "")).encode()
        if hmac.compare_digest(given, self.master.encode()):
            return True
        return level == "function" and hmac.compare_digest(given, self.function.encode())
