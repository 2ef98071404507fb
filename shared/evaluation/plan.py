"""Turns a log and the policies to compare into pieces of work, and those that stand into what is to be done next.

A log is a line of bytes, its windows one behind the other; shards are stretches of it, and a window may be cut.
Policies are in groups. A piece is one group over one shard, and goes on from the models that the group's piece before
has left. Groups wait on each shard for the first one, by whose piece it is known what rewards are to be expected there;
those of the search also where a round ends, until all of them are there and it is known who goes on (docs/adr/0032).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from shared.contract.evaluations import PolicySource
from shared.log.join import Rules
from shared.log.joined import Window
from shared.storage import documents

SHARD_BYTES: Final = 24 * 1024 * 1024
"""Compressed bytes of the log in a shard at most, about 100,000 events of ten actions; see also `work.SECONDS`."""
SEARCHED: Final = 0.6
"""The part of the log by which policies are chosen; what was chosen is judged by the rest."""
BATCH: Final = 16
"""Policies of the search in a group at most."""


class Entrant(msgspec.Struct, frozen=True, omit_defaults=True):
    """A policy that is compared.

    Attributes:
        name: in the evaluation.
        source: where it is from.
        arguments: its own; None of one that is no policy of VW.
        training, resuming: what VW is told; see `loops.policy.Policy`.
    """

    name: str
    source: PolicySource
    arguments: str | None = None
    training: str = ""
    resuming: str = ""


class Piece(NamedTuple):
    """A group over a shard."""

    group: int
    shard: int


class Part(NamedTuple):
    """The lines of a window from `first / size` to before `last / size` of them."""

    window: Window
    first: int
    last: int
    size: int


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an evaluation is made.

    Attributes:
        job: the id of its job.
        evaluation: the evaluation's id.
        created: in seconds since the epoch.
        mode, multi_slot: of the events that are looked at.
        rules: by which they are labelled.
        windows: of the log, each with its size in bytes, one at least.
        ends: where each shard ends, in bytes.
        rounds: how many shards there are up to the end of each round of the search.
        groups: the policies.
        searched: the number of the first group of the search.
        slots: the ids of the slots that are told apart, by their numbers; all others have the number behind the last
            one. None in single slot.
        sent: when pieces were last given to others, in seconds since the epoch; 0 for never.
        stood: how many stood then.
        vain: how many times they were given to others since one of them came to an end.
        format: of this record.
    """

    job: str
    evaluation: str
    created: float
    mode: str
    multi_slot: bool
    rules: Rules
    windows: list[tuple[int, int, int]]
    ends: list[int]
    rounds: list[int] = []
    groups: list[list[Entrant]]
    searched: int
    slots: list[str] = []
    sent: float = 0.0
    stood: int = 0
    vain: int = 0
    format: int = documents.FORMAT

    @property
    def online(self) -> str:
        """The arguments of the policy that decided, the first of the first group."""
        return self.groups[0][0].arguments or ""

    @property
    def judged(self) -> int:
        """The first shard by which nothing was chosen."""
        return self.rounds[-1] if self.rounds else 0

    @property
    def pieces(self) -> int:
        """How many there are, if every group goes to the end."""
        return len(self.groups) * len(self.ends)

    def parts(self, shard: int) -> list[Part]:
        """What of the log a shard holds."""
        begin, end = [0, *self.ends][shard : shard + 2]
        found, offset = [], 0
        for first, last, size in self.windows:
            a, b = max(begin - offset, 0), min(end - offset, size)
            if a < b:
                found.append(Part(Window(first, last), a, b, size))
            offset += size
        return found


def shards(total: int, shares: Sequence[float], most: int) -> tuple[list[int], list[int]]:
    """Where the shards of a log of so many bytes end, and how many shards there are to the end of each round.

    Args:
        total: bytes of the log.
        shares: of the part for the search that each round sees, in order; none where nothing is searched.
        most: bytes of a shard.
    """
    marks = [0, *(round(total * SEARCHED * share) for share in shares), total]
    ends: list[int] = []
    rounds: list[int] = []
    for begin, end in pairwise(marks):
        count = max(1, -(-(end - begin) // most))
        ends += [begin + (end - begin) * (n + 1) // count for n in range(count)]
        rounds.append(len(ends))
    return ends, rounds[:-1]


def batches(entrants: Sequence[Entrant], most: int = BATCH) -> list[list[Entrant]]:
    """Groups of so many at most, in each of which there are some from everywhere in the list."""
    count = -(-len(entrants) // most)
    return [list(entrants[n::count]) for n in range(count)]


@dataclass(frozen=True, slots=True)
class State:
    """How far a plan is.

    Attributes:
        plan: it.
        stand: the pieces that stand.
        fields: the names of those that went on from each round that has ended.
    """

    plan: Plan
    stand: Collection[Piece]
    fields: Sequence[Collection[str]]

    def entrants(self, piece: Piece) -> list[Entrant]:
        """The policies of a piece's group that have come as far as its shard."""
        group = self.plan.groups[piece.group]
        passed = self._passed(piece.shard)
        if piece.group < self.plan.searched or not passed:
            return group
        field = self.fields[min(passed, len(self.fields)) - 1] if self.fields else [one.name for one in group]
        return [one for one in group if one.name in field]

    def next_of(self, group: int) -> int:
        """The first shard of a group that does not stand."""
        return next(n for n in range(len(self.plan.ends) + 1) if Piece(group, n) not in self.stand)

    def due(self) -> list[Piece]:
        """The pieces that can be begun, in order."""
        pieces = [Piece(group, self.next_of(group)) for group in range(len(self.plan.groups))]
        return [piece for piece in pieces if piece.shard < len(self.plan.ends) and not self._waits(piece)]

    def _waits(self, piece: Piece) -> bool:
        """Whether a piece must be waited with, or need not be done."""
        if piece.group and Piece(0, piece.shard) not in self.stand:
            return True  # what rewards are to be expected is found by the first group, for all of them
        undecided = piece.group >= self.plan.searched and self._passed(piece.shard) > len(self.fields)
        return undecided or not self.entrants(piece)

    def _passed(self, shard: int) -> int:
        """How many rounds there are before a shard."""
        return sum(end <= shard for end in self.plan.rounds)

    def after(self, piece: Piece) -> list[Piece]:
        """The pieces that can be begun since one stands: its own group's next, and those that have waited for it."""
        waited = [piece.shard] if not piece.group else []
        ends_round = piece.group >= self.plan.searched and piece.shard + 1 in self.plan.rounds
        return [
            due
            for due in self.due()
            if due == Piece(piece.group, piece.shard + 1)
            or due.shard in waited
            or (ends_round and due.group >= self.plan.searched and due.shard == piece.shard + 1)
        ]

    def ending(self) -> bool:
        """Whether all is there by which the next round of the search can be decided."""
        if len(self.fields) == len(self.plan.rounds):
            return False
        end = self.plan.rounds[len(self.fields)]
        return all(self.next_of(piece.group) >= end for piece in self._last(end - 1))

    def complete(self) -> bool:
        """Whether nothing is left to be done."""
        return len(self.fields) == len(self.plan.rounds) and not self.due()

    def finalists(self) -> list[tuple[int, Entrant]]:
        """The policies that have come to the end, each with its group."""
        last = len(self.plan.ends) - 1
        return [(n, one) for n in range(len(self.plan.groups)) for one in self.entrants(Piece(n, last))]

    def field(self) -> list[tuple[int, Entrant]]:
        """The policies that are still searched among, each with its group."""
        shard = self.plan.rounds[len(self.fields)] - 1
        return [(piece.group, one) for piece in self._last(shard) for one in self.entrants(piece)]

    def done(self) -> int:
        """How many pieces stand or need not be done any more, since nobody of their group goes on."""
        shards = len(self.plan.ends)
        over = [n for n in range(len(self.plan.groups)) if not self.entrants(Piece(n, shards - 1))]
        return len(self.stand) + sum(shards - self.next_of(n) for n in over)

    def _last(self, shard: int) -> list[Piece]:
        """The pieces of the search at a shard."""
        pieces = [Piece(n, shard) for n in range(self.plan.searched, len(self.plan.groups))]
        return [piece for piece in pieces if self.entrants(piece)]


def sized(sizes: Mapping[Window, int]) -> list[tuple[int, int, int]]:
    """Windows as a plan holds them."""
    return [(window.start, window.end, max(1, size)) for window, size in sizes.items()]
