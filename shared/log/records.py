"""Turns decisions and observations into journal lines, and lines back into records.

A line is one JSON object. The rank line carries what VW's dsjson needs as one ready piece (`r`), so that the join
never decodes contexts: it reads the few members before it and copies the rest.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Literal

import msgspec

VERSION = 1
"""Format of the lines, kept with each row; readers know every version that was ever released."""

_mark = struct.Struct(">8sd")
MARK_BYTES = _mark.size


class Ranked(msgspec.Struct, frozen=True, gc=False):
    """A rank call that was answered.

    Attributes:
        e: the event id.
        t: when it arrived, by the storage's clock, in seconds.
        d: whether it waits for activation.
        a: the chosen action: its index among the ranked ones, from 0.
        p: the probability it was chosen with, in (0, 1].
        r: the dsjson members that the join takes over as they are, as one JSON object: Timestamp, Version, EventId,
            a (actions from 1, chosen first), p (their probabilities), c (the example VW saw), VWState, and, where some
            actions were excluded, their [index, id] in the request.
    """

    e: str
    t: float
    d: bool
    a: int
    p: float
    r: msgspec.Raw


class Observed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A reward or an activation that was answered.

    Attributes:
        e: the event's key, see `event_key`.
        t: when it arrived, by the storage's clock, in seconds.
        k: "r" for a reward, "a" for an activation.
        v: the reward's value.
        q: the caller's `x-ms-client-request-id`: SDKs repeat a call under the same one, so it counts once.
    """

    e: str
    t: float
    k: Literal["r", "a"]
    v: float = 0.0
    q: str | None = None


decode_ranked = msgspec.json.Decoder(Ranked).decode
decode_observed = msgspec.json.Decoder(Observed).decode
encode_observed = msgspec.json.Encoder().encode


def event_key(event_id: str) -> str:
    """The event id as rank and reward agree on it.

    Depending on who decodes the path first, a slash in an id reaches the reward route as `/` or as `%2F`; both sides
    spell it `/` here (ADR 0005).
    """
    return event_id.replace("%2F", "/").replace("%2f", "/") if "%2" in event_id else event_id


def ranked_line(event_id: bytes, time: float, deferred: bool, chosen: int, probability: float, dsjson: bytes) -> bytes:
    """The journal line of a rank call; `event_id` and `dsjson` are JSON already. See `Ranked`."""
    return b'{"e":%b,"t":%.6f,"d":%b,"a":%d,"p":%.9g,"r":%b}' % (
        event_id,
        time,
        b"true" if deferred else b"false",
        chosen,
        probability,
        dsjson,
    )


def mark(event_id: str, time: float) -> bytes:
    """Sixteen bytes that tell a rank's event and time apart from others; a row lists those of its lines.

    With them the join finds a repeated event id without reading the events again.
    """
    return _mark.pack(hashlib.blake2b(event_key(event_id).encode(), digest_size=8).digest(), time)


def unmark(marks: bytes) -> list[tuple[bytes, float]]:
    """The (event digest, time) pairs of a row's marks."""
    return list(_mark.iter_unpack(marks))
