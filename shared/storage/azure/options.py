"""Turns how long Rankloop waits for storage into options of the Azure SDKs. All times are in seconds."""

from __future__ import annotations

from typing import Any

# `calls` repeats.
_ONCE: dict[str, Any] = {"retry_total": 0, "connection_timeout": 1}
TABLES = {**_ONCE, "read_timeout": 2}
# Blobs move in one request each: Azurite mixes states when a blob is replaced during a ranged read.
_SINGLE_TRANSFER = 256 * 1024 * 1024
BLOBS = {**_ONCE, "read_timeout": 10, "max_single_put_size": _SINGLE_TRANSFER, "max_single_get_size": _SINGLE_TRANSFER}
QUEUES = {**_ONCE, "read_timeout": 5}
READ: dict[str, Any] = {"read_timeout": 2}
"""Of one read of blobs, whose first byte comes at once; after a write storage may have megabytes to put away."""

ROW = 5.0
"""One row's whole call may take: time for another try before its bucket closes, and for fetching a token first."""
DOCUMENT = 10.0
"""The whole read of a blob that is looked at every few seconds."""
MESSAGE = 10.0
"""The whole of a message's sending."""
LIST = 30.0
"""The whole of a page of rows or of blobs, or of a list of tables."""
BLOB = 60.0
"""The whole of any other blob, such as a model of 100 MB."""

CONTAINER = {
    **BLOBS,
    # A client's container may lie anywhere: it is given up sooner, and it cannot send us elsewhere.
    "connection_timeout": 2,
    "permit_redirects": False,
    "retry_total": 1,
    # The blob SDK has its own names for the pauses, and waits 15 to 21 s where they are not given.
    "initial_backoff": 0.2,
    "increment_base": 0,
    "random_jitter_range": 0.1,
}
FOREIGN = 30.0
"""The whole of a call of a client's container."""
