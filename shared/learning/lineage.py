"""Turns a line of the joined log into the version that was the first to learn it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from shared.learning import registry
from shared.learning.registry import Version
from shared.learning.trainer import takes
from shared.log.joined import Window
from shared.storage import Blobs

_SOON = 86_400
"""Seconds of learning within which the version is looked for first: it is hardly ever a later one."""


async def first_to_learn(blobs: Blobs, loop_id: str, window: Window, line: bytes) -> str | None:
    """The name of the version that was the first to learn a line, or None while none has.

    Args:
        blobs: hold the versions.
        loop_id: the loop.
        window: in which the line stands.
        line: of the joined log.
    """
    serving, _ = await registry.current(blobs, loop_id)
    if serving is None or serving.trained_through < window.end:
        return None
    for until in (window.end + _SOON, serving.trained_through + 1):
        names = await registry.listed(blobs, loop_id, window.end, until)
        read: list[Version | str] = []
        for _, together in groupby(sorted(names), key=_through):
            read += [await registry.recorded(blobs, loop_id, name) or name for name in together]
            if (found := first(read, serving, window, line)) is not None:
                return found
    return None


def first(versions: Sequence[Version | str], serving: Version, window: Window, line: bytes) -> str | None:
    """The first of some versions that served and has learned a line.

    Args:
        versions: in the order of how far they are trained; by its name alone one that has no record.
        serving: the one that serves now.
        window: as in `first_to_learn`.
        line: as there.
    """
    records = [version for version in versions if isinstance(version, Version)]
    followed = {version.parent for version in records} | {serving.version}  # others lost a race, and never served
    nameless = next((version for version in versions if isinstance(version, str)), None)
    for version in sorted(records, key=lambda version: (version.trained_through, version.created)):
        if version.learned_from is None:
            if not version.imported and not version.blank and version.version in followed:
                return nameless or version.version  # a release made it and those before that kept no records
            continue
        nameless = None
        reached = version.learned_from <= window.start < version.trained_through
        if reached and version.version in followed and takes(line, version.mode, version.multi_slot):
            return version.version
    return None


def _through(name: str) -> str:
    return name.partition("-")[0]
