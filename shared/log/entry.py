"""Turns a joined line, or a rank record that is not joined yet, into what was decided and what came of it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.log.records import ONLINE, Ranked

_PLACED = list[tuple[int, str]]


class _Scorer(msgspec.Struct, gc=False):
    version: str = msgspec.field(name="m")


class Noted(msgspec.Struct, gc=False):
    """An observation as a joined line keeps it: a reward has a value, an activation none."""

    value: float | None = msgspec.field(name="v", default=None)


class Outcome(msgspec.Struct, gc=False):
    """What was decided for a slot, and what came of it.

    Attributes:
        id: the slot's.
        actions: by index, the drawn one first; empty where none was left.
        probabilities: of `actions`; that of the drawn one is as it is learned, see `join.MIN_PROBABILITY`.
        cost: what is learned; None while it is not joined, or where the slot is empty.
        raw_cost: what the rewards came to.
        observed: what counted for the slot.
    """

    id: str = msgspec.field(name="_id")
    actions: list[int] = msgspec.field(name="_a")
    probabilities: list[float] = msgspec.field(name="_p")
    cost: float | None = msgspec.field(name="_label_cost", default=None)
    raw_cost: float | None = msgspec.field(name="_original_label_cost", default=None)
    observed: list[Noted] = msgspec.field(name="_o", default_factory=list)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An event, as the log keeps it.

    Attributes:
        event_id: the caller's.
        timestamp: when it arrived, ISO 8601.
        example: what VW saw, byte for byte.
        scorer: the model version that scored it.
        epsilon: what that was loaded with; None in lines of a release that did not write it down.
        mode: the learning mode.
        holdback: whether it was decided without the model, for comparison.
        share: of decisions that were, where any were.
        deferred: whether it waited for activation; not known of lines of that release.
        inactive: whether it was never activated, though it waited for that.
        subject: the tag of its subject.
        order: the ranked actions from 1 on, the drawn one first; empty in multi-slot.
        probabilities: of `order`.
        excluded: index and id of the actions that were not ranked.
        odd: place and id of those that the example does not hold as they are.
        baselines: in multi-slot, the slots' actions without learning.
        outcomes: in multi-slot, the slots.
        cost: as in `Outcome`, as the next two.
        raw_cost: as there.
        observed: as there.
    """

    event_id: str = msgspec.field(name="EventId")
    example: msgspec.Raw = msgspec.field(name="c")
    scorer: _Scorer = msgspec.field(name="VWState")
    timestamp: str = msgspec.field(name="Timestamp", default="")
    epsilon: float | None = None
    mode: str = ONLINE
    holdback: bool = False
    share: float | None = msgspec.field(name="holdbackShare", default=None)
    deferred: bool = msgspec.field(name="DeferredAction", default=False)
    inactive: bool = msgspec.field(name="_skipLearn", default=False)
    subject: str | None = None
    order: list[int] = msgspec.field(name="a", default_factory=list)
    probabilities: list[float] = msgspec.field(name="p", default_factory=list)
    excluded: _PLACED = msgspec.field(default_factory=list)
    odd: _PLACED = msgspec.field(name="ids", default_factory=list)
    baselines: list[int] = msgspec.field(name="_ba", default_factory=list)
    outcomes: list[Outcome] | None = msgspec.field(name="_outcomes", default=None)
    cost: float | None = msgspec.field(name="_label_cost", default=None)
    raw_cost: float | None = msgspec.field(name="_original_label_cost", default=None)
    observed: list[Noted] = msgspec.field(name="o", default_factory=list)

    @property
    def time(self) -> float:
        """When it arrived, in seconds since the epoch."""
        return datetime.fromisoformat(self.timestamp).timestamp()


class _Id(msgspec.Struct, gc=False):
    id: str


class _Action(msgspec.Struct, gc=False):
    i: _Id


class _Slot(msgspec.Struct, gc=False):
    tag: str = msgspec.field(name="_tag")
    allowed: list[int] | None = msgspec.field(name="_inc", default=None)


class _Example(msgspec.Struct, gc=False):
    actions: list[_Action] = msgspec.field(name="_multi")
    slots: list[_Slot] = msgspec.field(name="_slots", default_factory=list)


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What an event was asked to choose from.

    Attributes:
        ids: of the ranked actions, in the order of the request.
        seeds: of the slots' draws; empty in single slot.
        allowed: the actions that each slot admits, ascending.
    """

    ids: list[str]
    seeds: list[str]
    allowed: list[list[int]]


_decode = msgspec.json.Decoder(Entry).decode
_decode_example = msgspec.json.Decoder(_Example).decode


def of_line(line: bytes) -> Entry:
    """The event of a joined line."""
    return _decode(line)


def of_ranked(ranked: Ranked) -> Entry:
    """The event of a rank record."""
    entry = msgspec.structs.replace(_decode(ranked.r), mode=ranked.m, holdback=ranked.held, deferred=ranked.d)
    if ranked.s is None:
        return entry
    outcomes = [Outcome(slot.id, slot.actions, slot.probabilities) for slot in ranked.s]
    return msgspec.structs.replace(entry, outcomes=outcomes)


def asked(entry: Entry) -> Asked:
    """What the event was asked to choose from."""
    example = _decode_example(entry.example)
    ids = [action.i.id for action in example.actions]
    for place, action_id in entry.odd:
        ids[place] = action_id
    every = list(range(len(ids)))
    return Asked(
        ids,
        [slot.tag.removeprefix("seed=") for slot in example.slots],
        [every if slot.allowed is None else slot.allowed for slot in example.slots],
    )
