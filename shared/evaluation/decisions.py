"""Turns joined lines into the decisions that were logged, and what a policy makes of their actions into scores.

Numbers of actions stand in one long column, decision behind decision: in single slot by the actions' position in the
request, in multi-slot (`shared.evaluation.slots`) the drawn one first, then the others that earlier slots had left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from shared.evaluation.scores import Numbers, Scores
from shared.learning.model import Learner, ModelError, of_actions
from shared.log.join import MIN_PROBABILITY
from shared.log.labels import Cost, Probability, drawn_with

Shares = Sequence[float] | Numbers
"""Numbers of actions, as the module says."""
_EXAMPLE, _SHARES = b',"c":{', b'"p":['
"""What begins the example of a line and the probabilities behind it: the first and the last ones, since no string of a
caller's holds a quote without a backslash. The example, by far the longest part, is left to VW."""


class _Single(msgspec.Struct, gc=False):
    """What stands before the example; `order` from 1 on, the drawn one first."""

    cost: Cost = msgspec.field(name="_label_cost")
    probability: Probability = msgspec.field(name="_label_probability")
    drawn: Annotated[int, Meta(ge=0)] = msgspec.field(name="_labelIndex")
    time: datetime = msgspec.field(name="Timestamp")
    order: list[Annotated[int, Meta(ge=1)]] = msgspec.field(name="a")


class _Behind(msgspec.Struct, gc=False):
    shares: list[float] = msgspec.field(name="p")


_single = msgspec.json.Decoder(_Single).decode
_behind = msgspec.json.Decoder(_Behind).decode


@dataclass(frozen=True)
class Decisions(ABC):
    """Decisions of lines that follow each other.

    Attributes:
        lines: of the log.
        times, places, slots, logged, rewards: see `Scores`.
        counts: how many actions each decision had.
        drawn: the place of the drawn action among them.
    """

    lines: Sequence[bytes]
    times: Numbers
    places: NDArray[np.int16]
    slots: NDArray[np.int16]
    logged: Numbers
    rewards: Numbers
    counts: NDArray[np.intp]
    drawn: NDArray[np.intp]

    @cached_property
    def begins(self) -> NDArray[np.intp]:
        """Where the actions of each decision begin."""
        return np.cumsum(self.counts) - self.counts

    @property
    def uniform(self) -> Numbers:
        """The probabilities of a draw from all actions alike."""
        return np.repeat(1.0 / self.counts, self.counts)

    @property
    @abstractmethod
    def shares(self) -> Shares:
        """The probabilities by which the actions were drawn."""

    @property
    @abstractmethod
    def baseline(self) -> Shares:
        """The probabilities of the baseline: its action for certain, or where that is taken, each of the others."""

    @property
    @abstractmethod
    def singles(self) -> Iterable[bytes]:
        """The decisions as single-slot lines, each with its actions in their order here."""

    @abstractmethod
    def replay(self, learner: Learner) -> tuple[Shares, int]:
        """What a policy makes of them as it learns them: its probabilities, the moment before it learned each line.

        Returns:
            These, and of how many lines it could make nothing: there it is taken to draw from all actions alike.
        """

    def scores(self, shares: Shares, expected: Shares, online: bool = False) -> Scores:
        """What a policy makes of them.

        Args:
            shares: its probabilities.
            expected: the reward that is expected of each action.
            online: whether it is what decided: then it draws with the probability that is logged, however rounded.
        """
        own, rewards = np.asarray(shares, np.float64), np.asarray(expected, np.float64)
        drawn = self.begins + self.drawn
        targets = self.logged if online else own[drawn]
        values = np.add.reduceat(own * rewards, self.begins) if len(drawn) else np.empty(0)
        return Scores(self.times, self.places, self.slots, self.logged, targets, self.rewards, rewards[drawn], values)


@dataclass(frozen=True)
class Singles(Decisions):
    """Decisions of single-slot lines.

    Attributes:
        order: the actions by position, from 1 on, the drawn one of each decision first.
    """

    order: array[int]

    @property
    def shares(self) -> Numbers:
        """See `Decisions.shares`; where a line does not tell them, those of a draw from all actions alike."""
        found, place = self.uniform, 0
        for line, count in zip(self.lines, self.counts.tolist(), strict=True):
            order = self.order[place : place + count]
            shares = _told(line)
            if len(shares) == count == max(order):
                found[np.array(order) + (place - 1)] = shares
            place += count
        return found

    @property
    def baseline(self) -> Numbers:
        """The first action for certain."""
        found = np.zeros(len(self.order))
        found[self.begins] = 1.0
        return found

    @property
    def singles(self) -> Sequence[bytes]:
        """The lines themselves."""
        return self.lines

    def replay(self, learner: Learner) -> tuple[Shares, int]:
        """See `Decisions.replay`."""
        found, undecided = array("d"), 0
        for shares, count in zip(learner.replay(self.lines, of_actions), self.counts.tolist(), strict=True):
            if isinstance(shares, ModelError) or len(shares) != count:
                found.extend([1.0 / count] * count)
                undecided += 1
            else:
                found.extend(shares)
        return found, undecided


def _told(line: bytes) -> list[float]:
    """The probabilities that a line tells, the drawn action's first; nothing where it tells none."""
    try:
        return _behind(b"{" + line[line.rfind(_SHARES) :]).shares
    except msgspec.MsgspecError:
        return []


def _drawn_with(row: _Single, line: bytes) -> float:
    if row.probability > MIN_PROBABILITY:
        return row.probability  # nearly always: nothing more of the line needs to be read
    return drawn_with(row.probability, next(iter(_told(line)), 0.0))


def read(lines: Sequence[bytes]) -> Singles:
    """The decisions of single-slot lines that are for learning; those whose labels are unsound are left out."""
    kept, rows, order = list[bytes](), list[_Single](), array("q")
    for line in lines:
        try:
            row = _single(line[: line.find(_EXAMPLE)] + b"}")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if row.drawn < len(row.order):
            kept.append(line)
            rows.append(row)
            order.extend(row.order)
    return Singles(
        kept,
        np.array([row.time.timestamp() for row in rows], np.float64),
        np.zeros(len(rows), np.int16),
        np.zeros(len(rows), np.int16),
        np.array([_drawn_with(row, line) for row, line in zip(rows, kept, strict=True)], np.float64),
        np.array([0.0 - row.cost for row in rows], np.float64),
        np.array([len(row.order) for row in rows], np.intp),
        np.array([row.drawn for row in rows], np.intp),
        order,
    )
