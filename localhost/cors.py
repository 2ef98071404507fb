"""Turns the `Host.CORS` setting into answers to preflight requests and headers for the others."""

from __future__ import annotations

from collections.abc import Mapping

from localhost.config import Config
from localhost.response import Response, empty


class Cors:
    """The origins whose pages may read answers; all methods and headers are allowed, as `func start` does."""

    def __init__(self, config: Config) -> None:
        """Take the origins from the settings; without any, nothing is done."""
        self._origins = config.cors_origins
        self._credentials = config.cors_credentials
        self.enabled = bool(self._origins)

    def headers(self, origin: str) -> list[tuple[bytes, bytes]]:
        """Return the headers that an answer to this origin needs beside its own."""
        if "*" in self._origins:
            return [(b"access-control-allow-origin", b"*")]
        if origin not in self._origins:
            return []
        # A cache must not hand one origin's answer to another.
        allowed = [(b"access-control-allow-origin", origin.encode()), (b"vary", b"Origin")]
        if self._credentials:
            allowed.append((b"access-control-allow-credentials", b"true"))
        return allowed

    def preflight(self, method: str, headers: Mapping[str, str]) -> Response | None:
        """Return the answer where the request is a browser's preflight, without `headers()`; else None."""
        asked = headers.get("access-control-request-method")
        if method != "OPTIONS" or asked is None or "origin" not in headers:
            return None
        if not self.headers(headers["origin"]):
            return empty(204)
        wanted = headers.get("access-control-request-headers")
        answer = [(b"access-control-allow-methods", asked.encode())]
        if wanted is not None:
            answer.append((b"access-control-allow-headers", wanted.encode()))
        return empty(204, *answer)
