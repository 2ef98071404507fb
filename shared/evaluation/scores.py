"""Turns what a policy makes of logged decisions into columns of numbers, and these into bytes and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.log.rows import compress, decompress
from shared.storage import StorageError

Numbers = NDArray[np.float64]
_FORMAT: Final = b"\x02"


class Scores(NamedTuple):
    """What a policy makes of logged decisions: columns of equal length with a row for each, in the order of the log.

    In multi-slot each slot of an event is a decision of its own. Of one that had no action left there is no row.

    Attributes:
        times: when the events arrived, in seconds since the epoch.
        places: the place of the slot in its event, from 0 on; 0 in single slot.
        slots: which slot it is, by its id: its number among those of the evaluation; 0 in single slot.
        logged: the probability with which the action was drawn.
        targets: the probability with which the policy draws it.
        rewards: as they are labelled: within the loop's reward range.
        modelled: the reward that a model of rewards expected of the action that was drawn, before it learned of the
            event; within the same range.
        values: the reward that it expected of the policy: the sum over the actions of the policy's probability times
            the reward that is expected of the action.
    """

    times: Numbers
    places: NDArray[np.int16]
    slots: NDArray[np.int16]
    logged: Numbers
    targets: Numbers
    rewards: Numbers
    modelled: Numbers
    values: Numbers

    @property
    def decisions(self) -> int:
        """How many there are."""
        return len(self.times)

    def where(self, chosen: NDArray[np.bool_] | slice) -> Scores:
        """Those of the decisions for which a column of truths is true, or that a slice takes."""
        return Scores(*(column[chosen] for column in _columns(self)))


def of_rows(rows: Sequence[Sequence[float]]) -> Scores:
    """The scores of decisions that are given one by one, each as its numbers in the order of the columns."""
    table = np.array(rows, np.float64).reshape(-1, len(Scores._fields))
    return Scores(*(table[:, n].astype(_of(name)) for n, name in enumerate(Scores._fields)))


def join(parts: Iterable[Scores]) -> Scores:
    """The scores of runs that follow each other as those of one run."""
    columns = zip(*map(_columns, [of_rows(()), *parts]), strict=True)
    return Scores(*map(np.concatenate, columns))


def pack(scores: Scores) -> bytes:
    """The scores as bytes: compressed."""
    stored = zip(Scores._fields, _columns(scores), strict=True)
    return compress([_FORMAT + b"".join(column.astype(_of(name)).tobytes() for name, column in stored)])


def unpack(data: bytes) -> Scores:
    """The scores in bytes that `pack` gave.

    Raises:
        StorageError: they are damaged, or a later release wrote them.
    """
    text = decompress(data)
    if text[:1] != _FORMAT:
        raise StorageError(f"scores are of format {text[:1].hex() or 'none'}; this release reads {_FORMAT.hex()}")
    kinds = [_of(name) for name in Scores._fields]
    count, rest = divmod(len(text) - 1, sum(kind.itemsize for kind in kinds))
    if rest:
        raise StorageError(f"scores are damaged: {rest} bytes are left of {count} rows")
    columns, start = [], 1
    for kind in kinds:
        columns.append(np.frombuffer(text, kind, count, start).astype(kind.newbyteorder("=")))
        start += kind.itemsize * count
    return Scores(*columns)


def _of(name: str) -> np.dtype[Any]:
    """The numbers of a column, as they are stored on any machine."""
    return np.dtype("<i2" if name in ("places", "slots") else "<f8")


def _columns(scores: Scores) -> Sequence[NDArray[Any]]:
    return scores
