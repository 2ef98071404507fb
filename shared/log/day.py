"""Turns a day's sums into two blobs, one of its minutes and one of its actions, and the blobs back into sums.

Of the minutes each measure is a column of 1,440 numbers of 32 bits, their first bytes first, then their second ones: so
they compress well, and a month of them is read in a moment. A measure that is zero throughout is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self, TypeVar

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from shared.log.minutes import COUNTS, HOUR, MINUTE, Earnings, Part, added_actions
from shared.log.rows import decompress
from shared.storage import StorageError, documents

DAY = 86_400
LENGTH = DAY // MINUTE
_COUNT, _SUM = np.dtype("<i4"), np.dtype("<f4")
"""Of a sum seven digits are kept: with more, a month of a loop with every measure would be above 2 MB."""
_LEVEL = 9
LATE, UNKNOWN = "lateRewards", "unknownRewards"
"""What is not known before an hour is closed: the rewards of each of its parts that came late, or of no known event, in
the minute with which the part begins."""
_WHOLE = frozenset({*COUNTS, LATE, UNKNOWN})


class _Head(msgspec.Struct):
    """What a blob of minutes begins with, as a line of JSON.

    Attributes:
        through: see `MinuteDay`.
        calls, hours: likewise.
        counts: the columns of whole numbers, in order.
        sums: the others, behind them.
        format: of the blob.
    """

    through: int
    calls: int
    hours: int
    counts: list[str]
    sums: list[str]
    format: int = documents.FORMAT


@dataclass
class MinuteDay:
    """The minutes of a day.

    Attributes:
        start: of the day.
        through: of each part of the join's (`minutes.Part`) that ends here or before, the sums are in it.
        calls: so are the calls that were written down for minutes before this; see `shared.log.answers`.
        hours: so are late and unknown rewards of each part of an hour that ends here or before.
        columns: by name, of `LENGTH` numbers each.
    """

    start: int
    through: int = 0
    calls: int = 0
    hours: int = 0
    columns: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def decode(cls, start: int, data: bytes) -> Self:
        """The day in a blob.

        Raises:
            Damaged: it is not what was written.
            StorageError: it is of a later release.
        """
        text = _plain(data)
        line, _, body = text.partition(b"\n")
        head = _decoded(line, _Head)
        names = [*((name, _COUNT) for name in head.counts), *((name, _SUM) for name in head.sums)]
        if len(body) != 4 * LENGTH * len(names):
            raise Damaged(f"{len(body)} bytes are not {len(names)} columns")
        held = {}
        for n, (name, kind) in enumerate(names):
            planes = np.frombuffer(body, np.uint8, 4 * LENGTH, 4 * LENGTH * n).reshape(4, LENGTH)
            held[name] = np.ascontiguousarray(planes.T).view(kind)[:, 0].astype(np.float64)
        return cls(start, head.through, head.calls, head.hours, held)

    def encode(self) -> bytes:
        """The blob of the day."""
        kept = {name: column for name, column in sorted(self.columns.items()) if column.any()}
        counts = [name for name in kept if is_count(name)]
        sums = [name for name in kept if not is_count(name)]
        head = msgspec.json.encode(_Head(self.through, self.calls, self.hours, counts, sums))
        columns = [kept[name].round().astype(_COUNT) for name in counts] + [kept[name].astype(_SUM) for name in sums]
        planes = [column.view(np.uint8).reshape(LENGTH, 4).T.tobytes() for column in columns]
        return _packed(head + b"\n" + b"".join(planes))

    def add(self, part: Part) -> None:
        """Count what a part has of the day."""
        own = [n for n, minute in enumerate(part.minutes) if self.start <= minute < self.start + DAY]
        at = [(part.minutes[n] - self.start) // MINUTE for n in own]
        for name, values in part.sums.items():
            self.column(name)[at] += [values[n] for n in own]

    def count(self, name: str, minute: int, by: int) -> None:
        """Count in one minute of the day, in seconds since the epoch."""
        self.column(name)[(minute - self.start) // MINUTE] += by

    def column(self, name: str) -> NDArray[np.float64]:
        """A column that may be added to."""
        return self.columns.setdefault(name, np.zeros(LENGTH))

    def less(self, before: int) -> None:
        """Forget the minutes that end before a time, and all of the join's where no window ended after it."""
        gone = min(LENGTH, max(0, (before - self.start) // MINUTE))
        for name, column in self.columns.items():
            joined = not ("." in name or name in (LATE, UNKNOWN))
            column[: LENGTH if joined and self.through <= before else gone] = 0.0


class ActionDay(msgspec.Struct):
    """What a day's actions have earned.

    Attributes:
        start: of the day.
        through: as in `MinuteDay`.
        hours: by hour, in seconds, and id; see `minutes.told_apart`.
        format: of the blob.
    """

    start: int
    through: int = 0
    hours: dict[int, dict[str, Earnings]] = {}
    format: int = documents.FORMAT

    @classmethod
    def decode(cls, start: int, data: bytes) -> ActionDay:
        """The day in a blob; see `MinuteDay.decode`."""
        return _decoded(_plain(data), ActionDay)

    def encode(self) -> bytes:
        """The blob of the day."""
        return _packed(msgspec.json.encode(self))

    def add(self, part: Part) -> None:
        """Count what a part has of the day."""
        own = {hour: of for hour, of in part.actions.items() if self.start <= hour < self.start + DAY}
        self.hours = added_actions(self.hours, own)

    def less(self, before: int) -> None:
        """Forget the hours that end before a time, and all where no window ended after it."""
        self.hours = {hour: of for hour, of in self.hours.items() if hour + HOUR > before and self.through > before}


_Formatted = TypeVar("_Formatted", _Head, ActionDay)


class Damaged(StorageError):
    """A blob is not what was written: its day is lost, and must not hold up those that follow."""


def is_count(name: str) -> bool:
    """Whether a measure is a whole number; calls are, by kind and outcome: `rank.ok`."""
    return name in _WHOLE or "." in name


def _plain(data: bytes) -> bytes:
    try:
        return decompress(data)
    except StorageError as e:
        raise Damaged(str(e)) from e


def _decoded(text: bytes, kind: type[_Formatted]) -> _Formatted:
    try:
        found = msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise Damaged(f"it is none that was written: {e}") from e
    if found.format > documents.FORMAT:
        raise StorageError(f"a day of format {found.format}; this release reads up to {documents.FORMAT}")
    return found


def _packed(text: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(text)
