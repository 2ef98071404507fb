"""Turns calls on model versions into what there is of them, and into which one serves (docs/adr/0025)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

import msgspec

from shared.app import App
from shared.contract.errors import ApiError
from shared.contract.models import ToldVersion, ToldVersions, ToldWeights, spell
from shared.edge import paging
from shared.edge.calls import Call, Reply, reply_json
from shared.edge.differences import apart, difference
from shared.edge.models import model_file
from shared.learning import pointer as pointers
from shared.learning import registry
from shared.learning.model import ModelError, ServingModel
from shared.learning.pointer import Pointer
from shared.learning.rebuild import Gone
from shared.learning.registry import MODEL, Version
from shared.learning.weights import weights
from shared.log import checkpoint as checkpoints
from shared.log.erasure import Erased
from shared.loops import policy

_AT_ONCE = 20
"""Records that are read at the same time."""
_MOST = 1000
"""Records that are read for a page. Where more are of one time, those of each page are in order among themselves."""
_LARGE = 4 * 1024 * 1024
"""Bytes of a model whose weights are not compared: VW would take seconds to list them, and this process stand still."""


async def list_versions(app: App, call: Call) -> Reply:
    """GET rankloop/v1/versions: the newest first."""
    listed = await registry.listed(app.blobs, call.loop.id)
    page = paging.read(call.query)
    names = sorted(listed, reverse=True)
    shown, following = page.of(names)
    pointer, _ = await pointers.read(app.blobs, call.loop.id)
    begin, end = _whole(names, page.skip, page.skip + len(shown))
    found: dict[str, Version] = {}
    for start in range(begin, end, _AT_ONCE):
        some = names[start : min(start + _AT_ONCE, end)]
        read = await asyncio.gather(*(registry.recorded(app.blobs, call.loop.id, name) for name in some))
        known = zip(some, map(_known, some, read, [pointer] * len(some)), strict=True)
        found |= {name: version for name, version in known if version is not None}

    def newest(name: str) -> tuple[int, float, str]:
        return registry.through(name), found[name].created if name in found else 0.0, name

    ordered = sorted(names[begin:end], key=newest, reverse=True)[page.skip - begin :][: len(shown)]
    told = [_told(found[name], listed[name], pointer) for name in ordered if name in found]
    link = following.link(call.url, call.query) if following else msgspec.UNSET
    return reply_json(ToldVersions(told, link))


def _whole(names: list[str], begin: int, end: int) -> tuple[int, int]:
    """The stretch of names around a page that holds all versions trained as far as its first and its last one.

    Names do not tell in which order these were made, so none of them can be put on a page without the others.
    """
    if begin >= end:
        return begin, begin
    wider, further = begin, end
    while wider and registry.through(names[wider - 1]) == registry.through(names[begin]):
        wider -= 1
    while further < len(names) and registry.through(names[further]) == registry.through(names[end - 1]):
        further += 1
    return (wider, further) if further - wider <= _MOST else (begin, end)


async def get_version(app: App, call: Call) -> Reply:
    """GET rankloop/v1/versions/{modelVersion}."""
    pointer, _ = await pointers.read(app.blobs, call.loop.id)
    version = await _version(app, call, call.id, pointer)
    return await _answered(app, call, version, pointer)


async def get_difference(app: App, call: Call) -> Reply:
    """GET rankloop/v1/versions/{modelVersion}/diff: from its parent, or from the one that `with` names."""
    pointer, _ = await pointers.read(app.blobs, call.loop.id)
    version = await _version(app, call, call.id, pointer)
    name = call.query.get("with", version.parent)
    if name is None:
        message = f"Version {version.version} has no parent: name another version to compare it with."
        raise ApiError("BadRequest", message, "with")
    other = await _version(app, call, name, pointer)
    return reply_json(difference(version, other, await _weights(app, call, version, other)))


async def get_version_model(app: App, call: Call) -> Reply:
    """GET rankloop/v1/versions/{modelVersion}/model: its bytes, rebuilt where they were thinned out."""
    async with app.rebuilder.turn:
        version, data = await _bytes(app, call)
    return model_file(data, version)


async def roll_back(app: App, call: Call) -> Reply:
    """POST rankloop/v1/versions/{modelVersion}/rollback: it serves from now on, and stays until it is unpinned."""
    loop = await app.loops.by_id(call.loop.id)  # as it is now: the model must be of its kind
    await app.clock.ensure()
    async with app.rebuilder.turn:
        version, data = await _bytes(app, call)
        try:
            made_with = policy.read(version.arguments)
            if made_with.problem is not loop.policy.problem:
                raise ModelError(f"it is for --{made_with.problem}, and the loop's policy is {loop.policy.arguments}")
            serving = made_with.serving(loop.configuration.exploration_percentage)
            (await asyncio.to_thread(ServingModel, data, serving)).close()
        except (ModelError, ApiError) as e:
            message = f"Version {version.version} cannot serve this loop: {e}"
            raise ApiError("BadRequest", message[:500], "modelVersion") from e
        await registry.store(app.blobs, loop.id, version, data)
        now = app.clock.now()
        pointer = await pointers.change(app.blobs, loop.id, lambda before: before.rolled_back(version, now))
        # The sweep may have thinned it out a moment ago; what the pointer names by now it leaves alone.
        await registry.store(app.blobs, loop.id, version, data)
    await app.models.renew(loop.id)
    app.counters.add("model.rolled_back")
    return await _answered(app, call, version, pointer)


async def pin(app: App, call: Call) -> Reply:
    """PUT rankloop/v1/pin: what serves now stays, whatever is learned."""
    await app.clock.ensure()
    serving, _ = await registry.current(app.blobs, call.loop.id)
    if serving is None or serving.blank:
        raise ApiError("ResourceNotFound", "The loop has no model yet that could be pinned.")
    now = app.clock.now()
    pointer = await pointers.change(app.blobs, call.loop.id, lambda before: before.pinned(now))
    app.counters.add("model.pinned")
    return await _answered(app, call, pointer.serving if pointer else serving, pointer)


async def unpin(app: App, call: Call) -> Reply:
    """DELETE rankloop/v1/pin: the newest version serves, or `learn=pinned`: learning goes on from the pinned one."""
    learn = call.query.get("learn", "newest")
    if learn not in ("newest", "pinned"):
        raise ApiError("BadRequest", f"learn must be newest or pinned; it is {learn[:64]!r}.", "learn")
    await app.clock.ensure()
    now, checkpoint = app.clock.now(), (await checkpoints.load(app.blobs, call.loop.id))[0]

    def change(before: Pointer) -> Pointer:
        return before.unpinned(now) if learn == "newest" else before.unpinned_here(checkpoint.watermark, now)

    await pointers.change(app.blobs, call.loop.id, change)
    await app.models.renew(call.loop.id)
    app.counters.add("model.unpinned")
    return Reply(204)


async def _version(app: App, call: Call, name: str, pointer: Pointer | None) -> Version:
    """The record of a version that a caller names."""
    record = await registry.recorded(app.blobs, call.loop.id, name) if registry.is_name(name) else None
    version = _known(name, record, pointer)
    if version is None:
        raise ApiError("ResourceNotFound", f"The loop has no model version {name[:64]!r}.")
    return version


def _known(name: str, record: Version | None, pointer: Pointer | None) -> Version | None:
    """A version's record; the pointer's, where an earlier release made it that kept none and it still serves."""
    serving = pointer.serving if pointer else None
    return serving if record is None and serving is not None and name and serving.version == name else record


async def _bytes(app: App, call: Call) -> tuple[Version, bytes]:
    """The version that a call names and its bytes, whether they are stored or not."""
    version = await _version(app, call, call.id, (await pointers.read(app.blobs, call.loop.id))[0])
    if version.blank:
        raise ApiError("ResourceNotFound", f"Version {version.version} stands for a deleted model: it has no bytes.")
    checkpoint, _ = await checkpoints.load(app.blobs, call.loop.id)
    try:
        return await app.rebuilder.model(call.loop.id, version.version, checkpoint.since, Erased(checkpoint.erasures))
    except Gone as e:
        raise ApiError("ResourceNotFound", str(e)) from e


async def _weights(app: App, call: Call, version: Version, other: Version) -> ToldWeights | None:
    """How far apart the weights of two versions are, where that is known without much work."""
    if version.blank or other.blank or _bits(version) != _bits(other):
        return None
    async with app.rebuilder.turn:
        tables: list[Mapping[int, float]] = []
        for one in (version, other):
            blob = await app.blobs.get(registry.model_path(call.loop.id, one.version))
            if blob is None or len(blob.data) > _LARGE:
                return None
            try:
                tables.append(await asyncio.to_thread(weights, blob.data))
            except ModelError:
                return None
    told = apart(*tables)
    return told if math.isfinite(told.distance) else None


def _bits(version: Version) -> str:
    """What decides where a feature's weight lies: the size of the table and how features are hashed into it."""
    words = version.arguments.split()
    return " ".join(word for n, word in enumerate(words) if {word, words[n - 1]} & {"--bit_precision", "--hash"})


async def _answered(app: App, call: Call, version: Version, pointer: Pointer | None) -> Reply:
    through = registry.through(version.version)
    listed = await registry.listed(app.blobs, call.loop.id, through, through + 1)
    return reply_json(_told(version, listed.get(version.version, set()), pointer))


def _told(version: Version, parts: set[str], pointer: Pointer | None) -> ToldVersion:
    name, course = version.version, pointer.course if pointer else None
    serves = pointer is not None and pointer.serving.version == name
    last = course.held_back if course else None
    held = last.held if last and last.version == name else version.held
    return ToldVersion(
        version=name,
        created=spell(version.created) or "",
        parent=version.parent,
        base=version.base,
        policy=version.arguments,
        mode=version.mode,
        events=version.events,
        learned=version.learned,
        skipped=version.skipped,
        refused=version.refused,
        reward=version.reward,
        learned_from=spell(version.learned_from),
        trained_through=spell(version.trained_through) or "",
        imported=version.imported,
        blank=version.blank,
        stored=MODEL in parts,
        serves=serves,
        pinned=serves and course is not None and course.pinned,
        learns=pointer is not None and pointer.head.version == name,
        held_back=held,
    )
