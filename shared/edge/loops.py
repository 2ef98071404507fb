"""Turns calls on loops and their keys into loops made, listed and deleted, and keys replaced (docs/adr/0015)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.app import App
from shared.contract.decoding import decode
from shared.contract.errors import ApiError
from shared.edge.calls import Call, Reply, reply_json
from shared.loops import keys
from shared.loops.loops import DEFAULT
from shared.loops.settings import Loop


class LoopRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A loop to be made."""

    # Its rule is that of `Loops.create`, which has a code of its own for it.
    name: Annotated[
        str,
        Meta(
            description="1 to 63 of a-z, 0-9 and -, neither first nor last a hyphen.",
            extra_json_schema={"pattern": "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"},
        ),
    ]


class LoopContract(msgspec.Struct, omit_defaults=True):
    """A loop."""

    name: str
    id: Annotated[str, Meta(description="For ever, and no other loop's: it names what the loop stores.")]
    endpoint: Annotated[str, Meta(description="What SDKs are given.")]
    keys: Annotated[dict[str, str] | None, Meta(description="Told only in the answer that made them.")] = None


class LoopList(msgspec.Struct):
    """The loops of a deployment, by name."""

    value: list[LoopContract]


class KeyContract(msgspec.Struct):
    """A key that was made just now."""

    name: str
    key: str


async def list_loops(app: App, call: Call) -> Reply:
    """GET rankloop/v1/loops."""
    found = sorted((await app.loops.ids()).items())
    return reply_json(LoopList([LoopContract(name, loop_id, endpoint(call, name)) for name, loop_id in found]))


async def create_loop(app: App, call: Call) -> Reply:
    """POST rankloop/v1/loops: the answer holds the loop's two keys, which are shown this once."""
    name = decode(call.body, LoopRequest).name
    loop, made = await app.loops.create(name)
    shown = dict(zip(keys.NAMES, made, strict=True))
    return reply_json(LoopContract(name, loop.id, endpoint(call, name), shown), 201)


async def delete_loop(app: App, call: Call) -> Reply:
    """DELETE rankloop/v1/loops/{loop}: its settings, keys, log and models, for ever."""
    await app.loops.delete(call.id)
    return Reply(204)


async def replace_key(app: App, call: Call) -> Reply:
    """POST rankloop/v1/keys/{key}: replaces key1 or key2 of the loop; the old one opens nothing 5 s later."""
    if call.id not in keys.NAMES:
        message = f"There is no key named {call.id[:64]!r}: a loop has {' and '.join(keys.NAMES)}."
        raise ApiError("ResourceNotFound", message)
    made, place = keys.new(), keys.NAMES.index(call.id)

    def change(loop: Loop) -> Loop:
        # The default loop begins without keys; both are made then, so that the other one opens nothing either.
        held = list(loop.keys or (keys.digest(keys.new()) for _ in keys.NAMES))
        held[place] = keys.digest(made)
        return replace(loop, keys=tuple(held))

    await app.loops.change(call.name, change)
    return reply_json(KeyContract(call.id, made))


def endpoint(call: Call, name: str) -> str:
    """The address of a loop, which SDKs are given."""
    return call.host if name == DEFAULT else f"{call.host}/loops/{name}"
