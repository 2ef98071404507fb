"""Turns a call's key or token into what its holder may do, for a client that shows only that."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from shared.access.roles import Role
from shared.app import App
from shared.edge.calls import Call, Reply, reply_json


class AccessContract(msgspec.Struct):
    """What the caller may do with the loop that was called."""

    loop: Annotated[str, Meta(description="The loop's name.")]
    roles: Annotated[
        list[str],
        Meta(description="call (rank, reward, activate), read, manage, and owner (loops and keys)."),
    ]
    loops: Annotated[list[str], Meta(description="All loops by name, for an owner; else this one alone.")]


async def get_access(app: App, call: Call) -> Reply:
    """GET rankloop/v1/access."""
    loops = sorted(await app.loops.ids()) if call.roles & Role.OWNER else [call.name]
    roles = [role.name.lower() for role in Role if role in call.roles and role.name]
    return reply_json(AccessContract(call.name, roles, loops))
