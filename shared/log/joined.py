"""Turns a window's joined lines into an immutable blob of the joined log, and the log's blobs back into lines.

One blob a window, named by it: `loops/<id>/joined/year=/month=/day=/hour=/<from>-<to>.dsjson.zst`. The observations
that arrived in the window stand beside it as `.observations.zst`, joined or not, so that nothing is lost with the
journal.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.log.rows import compress, decompress
from shared.storage import Blobs, Conflict, StorageError

_NAME = re.compile(r"/(\d{10})-(\d{10})\.dsjson\.zst$")


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A run of buckets: from the first one to before `end`, seconds since the epoch."""

    start: int
    end: int


def log_path(loop_id: str) -> str:
    """The folder of a loop's joined log."""
    return f"loops/{loop_id}/joined/"


def window_path(loop_id: str, window: Window, kind: str) -> str:
    """The blob of a window; `kind` is "dsjson" or "observations"."""
    hour = _hour_path(window.start)
    return f"{log_path(loop_id)}{hour}{window.start:010d}-{window.end:010d}.{kind}.zst"


def _hour_path(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("year=%Y/month=%m/day=%d/hour=%H/")


async def write(blobs: Blobs, loop_id: str, window: Window, kind: str, lines: Sequence[bytes]) -> bool:
    """Write a window's blob, unless it has no lines or stands already.

    Returns:
        False if other bytes stand there already. They hold every acknowledged line, since the window was closed when
        they were written; a row that storage took after its writer had given up can make the difference.
    """
    if not lines:
        return True
    sha256 = hashlib.sha256(b"\n".join(lines)).hexdigest()
    path = window_path(loop_id, window, kind)
    try:
        await blobs.put(path, compress(lines), metadata={"n": str(len(lines)), "sha256": sha256})
    except Conflict:
        held = await blobs.get(path)
        return held is not None and held.metadata.get("sha256") == sha256
    return True


async def windows(blobs: Blobs, loop_id: str, start: int, end: int) -> list[Window]:
    """The windows of the joined log that begin in [start, end), in order."""
    found = []
    for prefix in _prefixes(start, end):
        for path in await blobs.names(log_path(loop_id) + prefix):
            if match := _NAME.search(path):
                window = Window(int(match[1]), int(match[2]))
                if start <= window.start < end:
                    found.append(window)
    return sorted(found)


def _prefixes(start: int, end: int) -> list[str]:
    """The folders that hold [start, end): hours for less than a day, else the whole log."""
    if end - start > 86_400:
        return [""]
    return [_hour_path(hour) for hour in range(start // 3600 * 3600, end, 3600)]


async def read(blobs: Blobs, loop_id: str, window: Window) -> list[bytes]:
    """The dsjson lines of a window.

    Raises:
        StorageError: the blob is gone, or is not what was written.
    """
    path = window_path(loop_id, window, "dsjson")
    blob = await blobs.get(path)
    if blob is None:
        raise StorageError(f"{path} is gone")
    text = decompress(blob.data)
    if hashlib.sha256(text).hexdigest() != blob.metadata.get("sha256"):
        raise StorageError(f"{path} is damaged: its hash is not the one it was written with")
    return text.split(b"\n")
