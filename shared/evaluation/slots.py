"""Turns joined multi-slot lines into the decisions that were logged: one for each slot that had an action left.

What is left to a slot follows from what was drawn for the slots before it. A policy is asked under the same condition.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np

from shared.evaluation.decisions import Decisions, Shares
from shared.learning.model import Learner, ModelError, of_slots
from shared.log.join import MIN_PROBABILITY
from shared.log.labels import Cost, drawn_with


class Outcome(msgspec.Struct, gc=False):
    """What became of a slot: the actions that it had left, the drawn one first, how probable each was, and the cost."""

    id: str = msgspec.field(name="_id")
    actions: list[int] = msgspec.field(name="_a")
    shares: list[float] = msgspec.field(name="_p")
    cost: Cost = msgspec.field(name="_label_cost", default=0.0)

    def __post_init__(self) -> None:
        if len(self.actions) != len(self.shares) or not MIN_PROBABILITY <= (self.shares or [1.0])[0] <= 1.001:
            raise ValueError("a slot must have a probability for each action")
        if self.shares:
            # That of the drawn one as it was, which is what the others leave.
            self.shares[0] = drawn_with(self.shares[0], 1.0 - sum(self.shares[1:]))


class _Slot(msgspec.Struct, gc=False):
    features: msgspec.Raw = msgspec.field(name="sj")


class _Example(msgspec.Struct, gc=False):
    context: msgspec.Raw = msgspec.field(name="FromUrl")
    actions: list[msgspec.Raw] = msgspec.field(name="_multi")
    slots: list[_Slot] = msgspec.field(name="_slots")


class _Event(msgspec.Struct, gc=False):
    time: datetime = msgspec.field(name="Timestamp")
    example: _Example = msgspec.field(name="c")
    outcomes: list[Outcome] = msgspec.field(name="_outcomes")
    baselines: list[int] = msgspec.field(name="_ba")

    def __post_init__(self) -> None:
        known = range(len(self.example.actions))
        if not len(self.baselines) == len(self.outcomes) == len(self.example.slots):
            raise ValueError("a slot must have a baseline and an outcome")
        if not all(action in known for outcome in self.outcomes for action in outcome.actions):
            raise ValueError("what is drawn must be an action")

    def singles(self) -> Iterator[bytes]:
        """Each decision as a line of its own; the place of its slot is a feature."""
        for place, (slot, outcome) in enumerate(zip(self.example.slots, self.outcomes, strict=True)):
            if outcome.actions:
                actions = b",".join([bytes(self.example.actions[n]) for n in outcome.actions])
                yield b'{"_label_cost":%r,"_label_probability":%r,"_labelIndex":0,"a":[1],"c":%b}' % (
                    outcome.cost,
                    max(outcome.shares[0], MIN_PROBABILITY),
                    b'{"FromUrl":%b,"sj":%b,"place":{"n":"%d"},"_multi":[%b]}'
                    % (self.example.context, slot.features, place, actions),
                )


_decode = msgspec.json.Decoder(_Event).decode


@dataclass(frozen=True)
class Slots(Decisions):
    """Decisions of multi-slot lines.

    Attributes:
        events: what the lines hold.
    """

    events: Sequence[_Event]

    @property
    def shares(self) -> Shares:
        """See `Decisions.shares`."""
        return array("d", [share for event in self.events for one in event.outcomes for share in one.shares])

    @property
    def baseline(self) -> Shares:
        """See `Decisions.baseline`."""
        found = array("d")
        for event in self.events:
            for outcome, baseline in zip(event.outcomes, event.baselines, strict=True):
                found.extend(_certain(outcome.actions, baseline))
        return found

    @property
    def singles(self) -> Iterator[bytes]:
        """See `Decisions.singles`."""
        return (single for event in self.events for single in event.singles())

    def replay(self, learner: Learner) -> tuple[Shares, int]:
        """See `Decisions.replay`."""
        found, undecided = array("d"), 0
        for answer, event in zip(learner.replay(self.lines, of_slots), self.events, strict=True):
            left = [outcome.actions for outcome in event.outcomes]
            told = [] if isinstance(answer, ModelError) else [dict(slot) for slot in answer]
            if [slot.keys() for slot in told] != [set(actions) for actions in left]:
                told, undecided = [dict.fromkeys(actions, 1.0 / (len(actions) or 1)) for actions in left], undecided + 1
            for slot, actions in zip(told, left, strict=True):
                found.extend([slot[action] for action in actions])
        return found, undecided


def read(lines: Sequence[bytes], ids: Sequence[str]) -> Slots:
    """The decisions of multi-slot lines that are for learning; lines whose labels are unsound are left out.

    Args:
        lines: the lines.
        ids: of the slots that are told apart, by their numbers; all others have the number behind the last one.
    """
    numbers = {slot_id: number for number, slot_id in enumerate(ids)}
    kept, events = list[bytes](), list[_Event]()
    rows: list[tuple[float, int, int, float, float, int]] = []
    for line in lines:
        try:
            event = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        kept.append(line)
        events.append(event)
        time = event.time.timestamp()
        for place, outcome in enumerate(event.outcomes):
            if outcome.actions:
                number = numbers.get(outcome.id, len(ids))
                rows.append((time, place, number, outcome.shares[0], 0.0 - outcome.cost, len(outcome.actions)))
    times, places, slots, logged, rewards, counts = np.array(rows, np.float64).reshape(-1, 6).T
    drawn = np.zeros(len(rows), np.intp)
    return Slots(
        kept,
        times,
        places.astype(np.int16),
        slots.astype(np.int16),
        logged,
        rewards,
        counts.astype(np.intp),
        drawn,
        events,
    )


def _certain(actions: Sequence[int], action: int) -> list[float]:
    if action not in actions:
        return [1.0 / len(actions) for _ in actions]
    return [float(one == action) for one in actions]
