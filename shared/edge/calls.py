"""Turns a request, once its path was taken apart and its caller is known, into what operations take and give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from shared.access.roles import Role
from shared.app import App
from shared.contract.versions import Version
from shared.loops.settings import Loop

REQUEST_ID = "x-ms-client-request-id"
JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        loop: as it was at most 5 s ago.
        name: the loop's name.
        body: the request body.
        headers: by lower-case name.
        version: of Personalizer's API; the latest one for Rankloop's own operations.
        id: the id in the path, decoded; empty where the operation has none.
        query: the query's parameters.
        url: the address that was called, less its query.
        roles: what the caller holds.
    """

    loop: Loop
    name: str
    body: bytes
    headers: Mapping[str, str]
    version: Version = Version.V2022
    id: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    roles: Role = Role.NONE

    @property
    def host(self) -> str:
        """The address of the deployment: `https://host`."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: status, body (empty for none), its type, and further headers."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = JSON


Operation = Callable[[App, Call], Awaitable[Reply]]


def reply_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """The answer that holds a value as JSON."""
    return Reply(status, msgspec.json.encode(value), headers or {})
