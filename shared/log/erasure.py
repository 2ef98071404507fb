"""Turns the erasures in force into what of the log may still be seen.

An erasure is in force from when it is written down until nothing that it names is stored any more and nobody can
bring it back. Meanwhile every reader of the journal and of the joined log sees through this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from shared.log.records import Observed, Ranked, decode_observed, digest_of, marks_left, readable, unmark
from shared.storage import Blobs, StorageError


class Erasure(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be gone.

    Attributes:
        kind: whether `key` names an event or a subject.
        key: an event's digest (`records.digest_of`) or a subject's tag, in hex digits.
        at: what arrived before this time is erased, in seconds since the epoch; what comes later is another matter.
        id: its own, under which callers learn what became of it.
        generation: what is written of this one or a later one holds nothing that the erasure hides.
        found: of a subject, once all of its events are found, the blob that holds their marks, or nothing where there
            are none. Observations do not tell whose they are, so they are hidden by these.
    """

    kind: Literal["event", "subject"]
    key: str
    at: float
    id: str = ""
    generation: int = 0
    found: str | None = None

    @property
    def ready(self) -> bool:
        """Whether all that it names is known."""
        return self.kind == "event" or self.found is not None


class Line(msgspec.Struct):
    """What a joined line tells of its event."""

    event_id: str = msgspec.field(name="EventId")
    timestamp: str = msgspec.field(name="Timestamp")
    subject: str | None = None

    @property
    def time(self) -> float:
        """When it arrived, in seconds since the epoch."""
        return datetime.fromisoformat(self.timestamp).timestamp()


decode_line = msgspec.json.Decoder(Line).decode


class Erased:
    """The erasures in force.

    Args:
        erasures: them.
        found: the marks that their blobs hold, by path; only who reads the journal or observations needs them.

    Attributes:
        erasures: them.
    """

    def __init__(self, erasures: Iterable[Erasure] = (), found: Mapping[str, bytes] | None = None) -> None:
        self.erasures = tuple(erasures)
        self._events: dict[str, float] = {}
        self._subjects: dict[str, float] = {}
        self._observed: dict[str, float] = {}
        self._marks: set[tuple[bytes, float]] = set()
        for erasure in self.erasures:
            _extend(self._events if erasure.kind == "event" else self._subjects, erasure.key, erasure.at)
            for digest, time in unmark((found or {}).get(erasure.found or "", b"")):
                self._marks.add((digest, time))
                _extend(self._observed, digest.hex(), erasure.at)
        for key, at in self._events.items():
            _extend(self._observed, key, at)
        self._until = max([*self._events.values(), *self._subjects.values()], default=-float("inf"))

    @property
    def digests(self) -> Iterable[bytes]:
        """Of all events that are known to be hidden, whoever named them."""
        return map(bytes.fromhex, self._observed)

    @property
    def subjects(self) -> Iterable[str]:
        """The tags of all subjects whose events are hidden."""
        return self._subjects

    def hides(self, event_id: str, subject: str | None, time: float) -> bool:
        """Whether an event that arrived at a time is erased.

        Args:
            event_id: of the event.
            subject: the tag of its subject, where it has one.
            time: in seconds since the epoch.
        """
        if time >= self._until:
            return False
        if subject is not None and time < self._subjects.get(subject, _NEVER):
            return True
        return bool(self._events) and time < self._events.get(digest_of(event_id).hex(), _NEVER)

    def hides_observation(self, observed: Observed) -> bool:
        """Whether an observation is erased: with its event, by whatever name."""
        if not self._observed or observed.t >= self._until:
            return False
        return self.hides_observed(digest_of(observed.e), observed.t)

    def hides_observed(self, digest: bytes, time: float) -> bool:
        """The same of one that came at a time for the event of a digest."""
        return time < self._observed.get(digest.hex(), _NEVER)

    def hides_mark(self, digest: bytes, time: float) -> bool:
        """Whether the rank call that a mark stands for is erased."""
        return time < self._events.get(digest.hex(), _NEVER) or (digest, time) in self._marks

    def events(self, ranked: Sequence[Ranked]) -> list[Ranked]:
        """Those rank records that are not erased."""
        return [event for event in ranked if not self.hides(event.e, event.u, event.t)]

    def observations(self, observed: Iterable[Observed]) -> list[Observed]:
        """Those observations that are not erased."""
        return [o for o in observed if not self.hides_observation(o)]

    def marks(self, marks: bytes) -> bytes:
        """Those marks of a row that are not erased: what is forgotten is no twin of what comes later."""
        if not (self._events or self._marks):
            return marks
        return marks_left(marks, lambda digest, time: not self.hides_mark(digest, time))

    def observation_lines(self, lines: list[bytes]) -> list[bytes]:
        """Those observation lines that are not erased; one that cannot be decoded names nobody."""
        if not self._observed:
            return lines
        hidden = {line for line in lines for o in readable(decode_observed, [line]) if self.hides_observation(o)}
        return [line for line in lines if line not in hidden]

    def joined(self, lines: list[bytes], start: int) -> list[bytes]:
        """Those joined lines of a window from `start` on that are not erased."""
        if start >= self._until:
            return lines
        return [line for line in lines if not self._hides_line(line)]

    def _hides_line(self, line: bytes) -> bool:
        return any(self.hides(held.event_id, held.subject, held.time) for held in readable(decode_line, [line]))


_NEVER = -float("inf")
NOTHING = Erased()
"""No erasure is in force."""


async def load(blobs: Blobs, erasures: Sequence[Erasure]) -> Erased:
    """The erasures in force with all that they hide; for whoever reads the journal or observations."""
    return Erased(erasures, await found_marks(blobs, erasures))


async def found_marks(blobs: Blobs, erasures: Sequence[Erasure]) -> dict[str, bytes]:
    """The marks of the events that were found for erasures, by the path of their blob.

    Raises:
        StorageError: a blob of theirs is gone, or storage does not answer.
    """
    found = {}
    for path in {erasure.found for erasure in erasures if erasure.found}:
        blob = await blobs.get(path)
        if blob is None:
            raise StorageError(f"{path} is gone")
        found[path] = blob.data
    return found


def _extend(held: dict[str, float], key: str, at: float) -> None:
    held[key] = max(at, held.get(key, at))
