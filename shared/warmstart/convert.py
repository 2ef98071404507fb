"""Turns a file of past decisions into the lines that are learned from it, and an account of what could not be taken.

A file from outside may be large and hostile, so a process of its own does it, and stands back behind others.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import msgspec
import zstandard

from shared.child import ChildError, compute
from shared.contract.errors import ApiError
from shared.log import imports
from shared.log.join import Rules
from shared.log.joined import Packed, pack
from shared.loops.policy import read as read_policy
from shared.ranking.action_cache import ActionCache
from shared.warmstart import dsjson, rows
from shared.warmstart.past import CODE, TOO_LARGE, Past, line, too_large

FORMATS = ("dsjson", "csv", "parquet")
MAX_TEXT = 64 * 1024 * 1024
"""Bytes of a file at most, unpacked: the process that serves holds it for a moment."""
MAX_LINES = 4 * MAX_TEXT
"""Bytes of the lines that are made of it, at most: they say in full what a table says in a word."""
PATIENCE = 200.0
"""Seconds that it may take: Azure gives up a call that is not answered after 230."""
_TOLD = 10
"""Problems that are told word by word."""
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"


class File(msgspec.Struct, frozen=True):
    """What is to be converted, and for whom.

    Attributes:
        data: the file; dsjson and CSV may be compressed with gzip or zstd.
        format: one of `FORMATS`.
        arguments: the loop's policy.
        wait, default_reward, aggregation, reward_range: its rules, as in `join.Rules`.
        most_actions: that a rank call of the loop may have.
        time: of what has none, in seconds since the epoch.
    """

    data: bytes
    format: Literal["dsjson", "csv", "parquet"]
    arguments: str
    wait: float
    default_reward: float
    aggregation: str
    reward_range: tuple[float, float]
    most_actions: int
    time: float


class Converted(msgspec.Struct, tag=True):
    """What a file holds.

    Attributes:
        name: what earlier releases named the import of its lines.
        parts: its lines, in the joined log's form, the earliest first.
        events: how many there are.
        first, last: the times of the first and last of them, in seconds since the epoch.
        skipped: lines that held nothing to learn.
        refused: lines that could not be taken.
        problems: what was wrong with the first few of those.
    """

    name: str = ""
    parts: list[Packed] = []
    events: int = 0
    first: float = 0.0
    last: float = 0.0
    skipped: int = 0
    refused: int = 0
    problems: list[str] = []


class _Refused(msgspec.Struct, tag=True):
    """That a file cannot be converted: the refusal."""

    refusal: tuple[str, str]


async def run(file: File, patience: float = PATIENCE) -> Converted:
    """Convert a file in a process of its own.

    Args:
        file: the file.
        patience: seconds that it may take.

    Raises:
        ApiError: as `convert`, or InvalidRequest when it ends that process or takes too long.
    """
    try:
        answer = await compute(answered, msgspec.msgpack.encode(file), patience)
    except (ChildError, TimeoutError) as e:
        raise ApiError(CODE, "The file ends the process that reads it, or takes it too long: send less of it.") from e
    found = msgspec.msgpack.decode(answer, type=Converted | _Refused)
    if isinstance(found, _Refused):
        raise ApiError(*found.refusal)
    return found


def answered(message: bytes) -> bytes:
    """What that process does: a file as msgpack into what it holds, or its refusal, as msgpack."""
    csv.field_size_limit(MAX_TEXT)  # of the whole process; else 131,072 characters: not enough for many actions
    try:
        found: Converted | _Refused = convert(msgspec.msgpack.decode(message, type=File))
    except ApiError as e:
        found = _Refused((e.code, e.message))
    return msgspec.msgpack.encode(found)


def convert(file: File) -> Converted:
    """Convert a file here and now.

    Raises:
        ApiError: InvalidRequest when it cannot be read at all, PayloadSizeExceeded when it is too large.
    """
    policy = read_policy(file.arguments)
    rules = Rules(file.wait, file.default_reward, file.aggregation, file.reward_range)
    digest = hashlib.sha256(file.data).hexdigest()[:16]
    cache, found, timed, size = ActionCache(), Converted(), list[tuple[float, bytes]](), 0
    for number, read in enumerate(_decisions(file), 1):
        try:
            past = read(f"{digest}-{number}", file.time)
            if past is None:
                found.skipped += 1
            else:
                timed.append((past.time, line(past, rules, policy, cache, file.most_actions)))
                size += len(timed[-1][1])
        except ApiError as e:
            found.refused += 1
            if len(found.problems) < _TOLD:
                found.problems.append(f"{number}: {e.message}"[:500])
        if size > MAX_LINES:
            raise ApiError(TOO_LARGE, f"Lines of more than {MAX_LINES} bytes come of the file: import it in parts.")
    timed.sort(key=lambda one: one[0])  # those of one time stay in the order of the file
    if lines := [text for _, text in timed]:
        found.first, found.last, found.events = timed[0][0], timed[-1][0], len(lines)
        found.name = imports.name_of(found.first, lines)
        found.parts = [pack(part, rules.labels) for part in imports.cut(lines)]
    return found


_Read = Callable[[str, float], Past | None]
"""Reads one decision, given the event id and the time of one that has none of its own."""


def _decisions(file: File) -> Iterator[_Read]:
    """One reader for each line or row of a file, in order."""
    if len(file.data) > MAX_TEXT:
        raise too_large(MAX_TEXT)
    if file.format == "dsjson":
        for text in _text(file.data).split(b"\n"):
            if text.strip():
                yield partial(dsjson.read, text)
        return
    of_parquet = file.format == "parquet"
    for row in rows.of_parquet(file.data, MAX_TEXT) if of_parquet else rows.of_csv(_text(file.data)):
        yield partial(rows.read, row)


def _text(data: bytes) -> bytes:
    """A file as it was before it was compressed, if it was."""
    try:
        if data.startswith(_ZSTD):
            stream: io.RawIOBase | io.BufferedIOBase = zstandard.ZstdDecompressor().stream_reader(
                io.BytesIO(data), read_across_frames=True
            )  # type: ignore[assignment]
        elif data.startswith(_GZIP):
            stream = gzip.GzipFile(fileobj=io.BytesIO(data))
        else:
            return data
        text = stream.read(MAX_TEXT + 1)
    except (zstandard.ZstdError, OSError, EOFError, zlib.error) as e:
        raise ApiError(CODE, f"The file cannot be unpacked: {e}") from e
    if text is None or len(text) > MAX_TEXT:
        raise too_large(MAX_TEXT)
    return text
