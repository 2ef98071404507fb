"""Turns randomness into a loop's keys, and keys into the hashes that are kept of them."""

from __future__ import annotations

import hashlib
import secrets

NAMES = ("key1", "key2")
"""Two keys, so that callers can move to one while the other is replaced."""


def new() -> str:
    """A new key of 32 random bytes, in hex: shown once, and never kept."""
    return secrets.token_hex(32)


def digest(key: str) -> bytes:
    """What is kept of a key: 32 bytes, as good as the key is random."""
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
