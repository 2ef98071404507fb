"""Turns a line of the joined log into the version that was the first to learn it."""

from __future__ import annotations

from itertools import groupby

from shared.learning import pointer as pointers
from shared.learning import registry
from shared.learning.lesson import takes
from shared.learning.registry import RECORD, Version
from shared.log.joined import Window
from shared.log.records import MODES
from shared.storage import Blobs

MAX_RECORDS = 500
"""Versions that one look reads: some hours of a loop that makes one each minute."""
_SOON = 86_400
"""Seconds of learning within which the version is looked for first: it is hardly ever a later one."""


class TooFar(Exception):
    """The version was not found among those that one look reads; the text says so, in a sentence for people."""


class Trail:
    """The versions behind a window, looked at once each, until the first of their chain that learned a line is known.

    Args:
        newest: the name of the one that learning goes on from.
        window: in which the line stands.
        line: of the joined log.
    """

    def __init__(self, newest: str, window: Window, line: bytes) -> None:
        self._newest = newest
        self._window = window
        self._line = line
        self._nameless: str | None = None
        self._told = False
        self._candidates: dict[str, str] = {}

    def follow(self, version: Version | str) -> str | None:
        """The name that is looked for, once it is known.

        Args:
            version: the next one, in the order of how far they are trained; by its name alone one without a record.
        """
        if isinstance(version, str):
            self._nameless = self._nameless or version
            return None
        if version.parent in self._candidates:
            return self._candidates[version.parent]
        if (name := self._candidate(version)) is None:
            return None
        if version.version == self._newest:
            return name
        self._candidates[version.version] = name  # unless one follows it, it lost a race, or was ruined
        return None

    def _candidate(self, version: Version) -> str | None:
        """The name that is looked for if this version served; None where it has not learned the line."""
        if version.learned_from is not None:
            self._told = True
            reached = version.learned_from <= self._window.start < version.trained_through
            return version.version if reached and takes(self._line, version.mode, version.multi_slot) else None
        if version.imported or version.blank:
            return None
        # A release made it, and those before it, that kept no records.
        return version.version if self._told else self._nameless or version.version


async def first_to_learn(blobs: Blobs, loop_id: str, window: Window, line: bytes) -> str | None:
    """The name of the version that was the first to learn a line, or None while none has.

    Args:
        blobs: hold the versions.
        loop_id: the loop.
        window: in which the line stands.
        line: of the joined log.

    Raises:
        TooFar: it is none of the first `MAX_RECORDS` behind the window.
        StorageError: storage does not answer, or what it holds is damaged.
    """
    if not any(takes(line, mode, multi_slot) for mode in MODES for multi_slot in (False, True)):
        return None  # it was never activated
    pointer, _ = await pointers.read(blobs, loop_id)
    learned = max(pointer.serving.trained_through, pointer.head.trained_through) if pointer else 0
    if pointer is None or learned < window.end:
        return None
    trail, left = Trail(pointer.head.version, window, line), MAX_RECORDS
    soon, last = window.end + _SOON, learned + 1
    for start, end in ((window.end, min(soon, last)), (soon, last)):
        held = await registry.listed(blobs, loop_id, start, end) if start < end else {}
        for _, together in groupby(sorted(held), key=_through):
            read: list[Version] = []
            for name in together:
                record = None
                if RECORD in held[name]:
                    if not left:
                        raise TooFar(f"Which version learned it first is not among the {MAX_RECORDS} that were read.")
                    left -= 1
                    record = await registry.recorded(blobs, loop_id, name)
                if record is None:
                    trail.follow(name)
                else:
                    read.append(record)
            for version in sorted(read, key=lambda version: version.created):
                if (found := trail.follow(version)) is not None:
                    return found
    return None


def _through(name: str) -> str:
    return name.partition("-")[0]
