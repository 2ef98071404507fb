"""Turns decisions and observations into journal lines, and lines back into records.

A line is one JSON object. The rank line carries what VW's dsjson needs as one ready piece (`r`), so that the join
never decodes contexts: it reads the few members before it and copies the rest.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeVar

import msgspec

VERSION = 1
"""Format of the lines, kept with each row; readers know every version that was ever released."""

ONLINE, APPRENTICE, LOGGING_ONLY = MODES = ("Online", "Apprentice", "LoggingOnly")
"""Learning modes, as the API spells them (contract 5.4)."""

_mark = struct.Struct(">8sd")
MARK_BYTES = _mark.size


class RankedSlot(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What was decided for one slot of a multi-slot rank call.

    Attributes:
        id: the slot's id.
        actions: indices of the request's actions, from 0, the chosen one first; empty where earlier slots took all
            that this one allows.
        probabilities: of `actions`.
        baseline: the index of the action that stood there before Personalizer.
        shown: the id of the action that was answered; empty where there was none, or that was not written down.
    """

    id: str
    actions: list[int]
    probabilities: list[float]
    baseline: int
    shown: str = ""


class Arm(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The side of a holdback that an event is on (docs/adr/0027).

    Attributes:
        held: whether it was decided without the model, for comparison.
        since: since when the holdback's share was the one that it was taken under, in seconds; tells one comparison
            from another.
    """

    held: bool
    since: float


class Ranked(msgspec.Struct, frozen=True, gc=False):
    """A rank call that was answered.

    Attributes:
        e: the event id.
        t: when it arrived, by the storage's clock, in seconds.
        d: whether it waits for activation.
        a: the chosen action: its index among the ranked ones, from 0, of which that one is the baseline.
        p: the probability it was chosen with, in (0, 1].
        s: in multi-slot, the slots in place of `a` and `p`.
        m: the learning mode it was decided in.
        h: its side, where a share of the loop's decisions was held back.
        b: in Apprentice mode, when the loop was last turned to it, in seconds, where that was written down.
        u: the tag of its subject, where the caller named one; see `shared.log.subject`.
        i: the id of the action that was answered; empty in multi-slot, or where that was not written down.
        g: the probability of the action that was scored best, likewise None.
        x: whether another one than that was drawn.
        r: the dsjson members that the join takes over as they are, as one JSON object: Timestamp, Version, EventId,
            a (actions from 1, chosen first), p (their probabilities), c (the example VW saw), VWState, and, where some
            actions were excluded, their [index, id] in the request.
    """

    e: str
    t: float
    d: bool
    r: msgspec.Raw
    a: int = 0
    p: float = 1.0
    s: list[RankedSlot] | None = None
    m: str = ONLINE
    h: Arm | None = None
    b: float | None = None
    u: str | None = None
    i: str = ""
    g: float | None = None
    x: bool = False

    @property
    def held(self) -> bool:
        """Whether it was held back from the model."""
        return self.h is not None and self.h.held


class Observed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A reward or an activation that was answered.

    Attributes:
        e: the event's key, see `event_key`.
        t: when it arrived, by the storage's clock, in seconds.
        k: "r" for a reward, "a" for an activation.
        v: the reward's value.
        s: in multi-slot, slot ids with their rewards in place of `v`.
        q: the caller's `x-ms-client-request-id`, or a digest of an odd one: SDKs repeat a call under the same one, so
            it counts once.
    """

    e: str
    t: float
    k: Literal["r", "a"]
    v: float = 0.0
    s: list[tuple[str, float]] | None = None
    q: str | None = None


T = TypeVar("T")

decode_ranked = msgspec.json.Decoder(Ranked).decode
decode_observed = msgspec.json.Decoder(Observed).decode
encode_observed = msgspec.json.Encoder().encode


def readable(decode: Callable[[bytes], T], lines: Iterable[bytes]) -> Iterator[T]:
    """The records of those lines that can be decoded. One that cannot must not hold up the others for ever."""
    for line in lines:
        try:
            yield decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue


def event_key(event_id: str) -> str:
    """The event id as rank and reward agree on it.

    Depending on who decodes the path first, a slash in an id reaches the reward route as `/` or as `%2F`; both sides
    spell it `/` here (ADR 0005).
    """
    return event_id.replace("%2F", "/").replace("%2f", "/") if "%2" in event_id else event_id


def ranked_line(
    event_id: bytes,
    time: float,
    deferred: bool,
    choice: bytes,
    mode: str,
    dsjson: bytes,
    subject: str | None = None,
    trial: bytes = b"",
) -> bytes:
    """The journal line of a rank call; see `Ranked`.

    Args:
        event_id: JSON already.
        time: in seconds.
        deferred: whether it waits for activation.
        choice: the members `a`, `p`, `i`, `g` and perhaps `x`, or `s`, as JSON without braces.
        mode: a learning mode.
        dsjson: what the join takes over as it is.
        subject: a tag, or None.
        trial: the member `h` or `b` as JSON without braces, or nothing.
    """
    return b'{"e":%b,"t":%.6f,"d":%b,%b,"m":"%b",%b%b"r":%b}' % (
        event_id,
        time,
        b"true" if deferred else b"false",
        choice,
        mode.encode(),
        trial + b"," if trial else b"",
        b'"u":"%b",' % subject.encode() if subject else b"",
        dsjson,
    )


def digest_of(event_id: str) -> bytes:
    """Eight bytes that stand for an event id where it is looked for, as rank and reward agree on it."""
    return hashlib.blake2b(event_key(event_id).encode(), digest_size=8).digest()


def mark(event_id: str, time: float) -> bytes:
    """Sixteen bytes that tell a rank's event and time apart from others; a row lists those of its lines.

    With them the join finds a repeated event id without reading the events again.
    """
    return _mark.pack(digest_of(event_id), time)


def marks_left(marks: bytes, stands: Callable[[bytes, float], bool]) -> bytes:
    """The marks of a row for whose (event digest, time) something holds."""
    kept = [n for n, mark in enumerate(unmark(marks)) if stands(*mark)]
    return b"".join([marks[n * MARK_BYTES : (n + 1) * MARK_BYTES] for n in kept])


def unmark(marks: bytes) -> list[tuple[bytes, float]]:
    """The (event digest, time) pairs of a row's marks."""
    return list(_mark.iter_unpack(marks))
