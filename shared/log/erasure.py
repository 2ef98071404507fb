"""Turns the erasures in force into what of the log may still be seen.

An erasure is in force from when it is written down until nothing that it names is stored any more and nobody can
bring it back. Meanwhile every reader of the journal and of the joined log sees through this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from shared.log.records import Observed, Ranked, decode_observed, digest_of, readable


class Erasure(msgspec.Struct, frozen=True):
    """What is to be gone.

    Attributes:
        kind: whether `key` names an event or a subject.
        key: an event's digest (`records.digest_of`) or a subject's tag, in hex digits.
        at: what arrived before this time is erased, in seconds since the epoch; what comes later is another matter.
    """

    kind: Literal["event", "subject"]
    key: str
    at: float


class _Line(msgspec.Struct):
    event_id: str = msgspec.field(name="EventId")
    timestamp: str = msgspec.field(name="Timestamp")
    subject: str | None = None


_decode = msgspec.json.Decoder(_Line).decode


class Erased:
    """The erasures in force.

    Args:
        erasures: them.
    """

    def __init__(self, erasures: Iterable[Erasure] = ()) -> None:
        self._events: dict[str, float] = {}
        self._subjects: dict[str, float] = {}
        for erasure in erasures:
            held = self._events if erasure.kind == "event" else self._subjects
            held[erasure.key] = max(erasure.at, held.get(erasure.key, erasure.at))
        self._until = max([*self._events.values(), *self._subjects.values()], default=-float("inf"))

    def hides(self, event_id: str, subject: str | None, time: float) -> bool:
        """Whether an event, or an observation of it, that arrived at a time is erased.

        Args:
            event_id: of the event.
            subject: the tag of the event's subject, where it is known to have one.
            time: in seconds since the epoch.
        """
        if time >= self._until:
            return False
        never = -float("inf")
        if subject is not None and time < self._subjects.get(subject, never):
            return True
        return bool(self._events) and time < self._events.get(digest_of(event_id).hex(), never)

    def events(self, ranked: Sequence[Ranked]) -> list[Ranked]:
        """Those rank records that are not erased."""
        return [event for event in ranked if not self.hides(event.e, event.u, event.t)]

    def observations(self, observed: Iterable[Observed]) -> list[Observed]:
        """Those observations that are not erased."""
        return [o for o in observed if not self.hides(o.e, None, o.t)]

    def observation_lines(self, lines: list[bytes]) -> list[bytes]:
        """Those observation lines that are not erased; one that cannot be decoded names nobody."""
        if not self._events:
            return lines
        hidden = {line for line in lines for o in readable(decode_observed, [line]) if self.hides(o.e, None, o.t)}
        return [line for line in lines if line not in hidden]

    def joined(self, lines: list[bytes], start: int) -> list[bytes]:
        """Those joined lines of a window from `start` on that are not erased."""
        if start >= self._until:
            return lines
        return [line for line in lines if not self._hides_line(line)]

    def _hides_line(self, line: bytes) -> bool:
        held = _decode(line)
        return self.hides(held.event_id, held.subject, datetime.fromisoformat(held.timestamp).timestamp())


NOTHING = Erased()
"""No erasure is in force."""
