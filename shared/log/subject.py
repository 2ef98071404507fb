"""Turns what a caller names as the subject of an event into a tag, which tells nothing without the loop's own key.

The tag is kept with the event, the name nowhere: an erasure of the subject finds its events by it. Without the key,
which lies in storage beside the log, nobody can try names until one fits.
"""

from __future__ import annotations

import hashlib
import secrets

from shared.contract.errors import ApiError
from shared.log.records import event_key
from shared.storage import Blobs, Conflict, StorageError

HEADER = "x-rankloop-subject"
"""The request header of Rank that names a subject: any ASCII text that the caller will name it by again."""
MAX_SUBJECT = 256
_KEY_BYTES = 32
_LOOPS = 1000
"""Loops whose keys are kept in memory."""


def key_path(loop_id: str) -> str:
    """The blob of a loop's key."""
    return f"loops/{loop_id}/subject.key"


class Subjects:
    """The keys of all loops, each made when it is first asked for."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._keys: dict[str, bytes] = {}

    async def tag(self, loop_id: str, subject: str, where: str = HEADER) -> str:
        """The tag of a subject, 32 hex digits.

        Args:
            loop_id: the loop; tags of two loops have nothing in common.
            subject: as the caller names it.
            where: the caller named it, for a refusal.

        Raises:
            ApiError: BadRequest when it is no name of a subject.
            StorageError: storage does not answer.
        """
        if not 1 <= len(subject) <= MAX_SUBJECT:
            message = f"{where} must have 1 to {MAX_SUBJECT} characters; it has {len(subject)}."
            raise ApiError("BadRequest", message, where)
        # A header and a path would disagree on anything else, and an erasure would find nothing.
        if not (subject.isascii() and subject.isprintable()) or subject != subject.strip():
            message = f"{where} must be printable ASCII, and neither begin nor end with a space."
            raise ApiError("BadRequest", message, where)
        subject = event_key(subject)
        key = self._keys.get(loop_id)
        if key is None:
            key = await self._key(loop_id)
            if len(self._keys) >= _LOOPS:
                self._keys.clear()
            self._keys[loop_id] = key
        return hashlib.blake2b(subject.encode(), key=key, digest_size=16).hexdigest()

    async def _key(self, loop_id: str) -> bytes:
        path = key_path(loop_id)
        held = await self._blobs.get(path)
        if held is None:
            made = secrets.token_bytes(_KEY_BYTES)
            try:
                await self._blobs.put(path, made)
            except Conflict:
                held = await self._blobs.get(path)  # another instance was quicker
            else:
                return made
        if held is None or len(held.data) != _KEY_BYTES:
            raise StorageError(f"{path} is gone or damaged")
        return held.data
