"""Turns what an operator and a platform ask of a deployment into what they are told of these calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from shared.edge import status
from shared.edge.calls import Operation
from shared.edge.descriptions import RANKLOOP, Description

OPERATING: Final[dict[Operation, Description]] = {
    status.get_status: Description(
        RANKLOOP,
        "Get how all loops of the deployment are",
        answer=status.DeploymentStatus,
        details="At most 10 s are spent on it: of a loop that was not looked at by then only name and id are told.",
    ),
}
"""Of the operations on a deployment as a whole."""


class Probe(msgspec.Struct):
    """How an instance is."""

    status: Annotated[Literal["alive", "ready"], Meta(description="What was asked.")]


class _Probed(NamedTuple):
    """What is told of a call without a key: summary, details, and the codes of its refusals."""

    summary: str
    details: str
    codes: tuple[str, ...] = ()


_PROBED: Final[dict[str, _Probed]] = {
    "health/live": _Probed("Ask whether the instance is alive", "It takes no key, and asks nobody else."),
    "health/ready": _Probed(
        "Ask whether the instance can answer calls",
        "It takes no key. Once a second at most it looks whether storage answers and the deployment can be read; a "
        "refusal names `storage` or `deployment` as its target.",
        ("OperationNotAllowed",),
    ),
}
"""Of the calls that take no key, by path."""


def probes(answer: dict[str, Any], refusals: Callable[[Sequence[str]], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """These calls as the API's description has them, by path.

    Args:
        answer: the schema of a `Probe`.
        refusals: makes the answers of refusals, by status, from their codes.
    """
    success = {"description": "OK.", "content": {"application/json": {"schema": answer}}}
    return {
        f"/{path}": {
            "get": {
                "operationId": path.replace("/", "_"),
                "servers": [{"url": "/", "description": "Loops have none of their own."}],
                "tags": [RANKLOOP],
                "summary": told.summary,
                "description": told.details,
                "security": [],
                "responses": {"200": success, **refusals(told.codes)},
            },
        }
        for path, told in _PROBED.items()
    }
