"""Turns how long Rankloop waits for storage into options of the Azure SDKs."""

from __future__ import annotations

from typing import Any

# Short, since callers above retry with knowledge of their own deadlines; idempotent verbs only are retried here.
_RETRY: dict[str, Any] = {"retry_total": 2, "connection_timeout": 1}
TABLES = {**_RETRY, "retry_backoff_factor": 0.1, "read_timeout": 2}
# Blobs move in one request each: Azurite mixes states when a blob is replaced during a ranged read.
_SINGLE_TRANSFER = 256 * 1024 * 1024
BLOBS = {
    **_RETRY,
    "read_timeout": 10,
    # The blob SDK has its own names for the pauses, and waits 15 to 21 s where they are not given.
    "initial_backoff": 0.2,
    "increment_base": 0,
    "random_jitter_range": 0.1,
    "max_single_put_size": _SINGLE_TRANSFER,
    "max_single_get_size": _SINGLE_TRANSFER,
}
# A client's container may lie anywhere: it is given up sooner, and it cannot send us elsewhere.
CONTAINER = {**BLOBS, "retry_total": 1, "connection_timeout": 2, "permit_redirects": False}
