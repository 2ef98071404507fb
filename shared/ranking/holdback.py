"""Turns an event's id, or the tag of its subject, into whether it is held back from the model (docs/adr/0027)."""

from __future__ import annotations

import hashlib

from shared.log.records import ONLINE

_ALL = 1 << 64


def held_back(event_id: str, subject: str | None, loop_id: str, mode: str, share: float) -> bool:
    """Whether a decision is taken without the model: always the same for a subject, or for an id without one.

    The hash has nothing in common with that of the draw's seed, nor with that of another loop. What is held back at one
    share is at every larger one.

    Args:
        event_id: of the event.
        subject: the tag of its subject, or None.
        loop_id: the loop's, 32 hex digits.
        mode: the learning mode; but for Online, every answer is request order already, and nothing is held back.
        share: of events, or of subjects, that are.
    """
    if not share or mode != ONLINE:
        return False
    unit = (subject or event_id).encode()
    digest = hashlib.blake2b(unit, digest_size=8, salt=bytes.fromhex(loop_id), person=b"holdback").digest()
    return int.from_bytes(digest) < share * _ALL
