"""Turns joined lines into what was decided, and that into how probable it is that a model decides the same.

The model learns no more. Of several slots it is asked for each under the condition of what the slots before it drew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Any, NamedTuple

import msgspec
import orjson
from msgspec import Meta

from shared.evaluation.permuted import Situation
from shared.evaluation.slots import Outcome
from shared.learning.model import ModelError, ServingModel
from shared.log.labels import Cost, Probability, drawn_with


class Drawn(NamedTuple):
    """What was drawn for a slot, or where there are none for the event.

    Attributes:
        slot: its place; 0 where there are none.
        action: by its place in the situation.
        among: so many actions.
        probability: with which it was drawn.
        reward: that it has earned.
    """

    slot: int
    action: int
    among: int
    probability: float
    reward: float


class Logged(NamedTuple):
    """An event: what it was about, and what was drawn for each of its slots that had an action left."""

    situation: Situation
    drawn: list[Drawn]

    def probabilities(self, model: ServingModel, situation: Situation) -> list[float]:
        """How probable a model draws each of these in a situation; where it can decide nothing, as a uniform draw."""
        example: dict[str, Any] = {"FromUrl": situation.context, "_multi": situation.actions}
        found = []
        for one in self.drawn:
            try:
                if situation.slots:
                    example["_slots"] = [*self._given(situation, one.slot), situation.slots[one.slot]]
                    shares = dict(model.score_slots(orjson.dumps(example))[-1])
                    found.append(shares.get(one.action, 0.0))
                else:
                    found.append(model.score(orjson.dumps(example)).distribution[one.action])
            except ModelError:
                found.append(1.0 / one.among)
        return found

    def _given(self, situation: Situation, before: int) -> list[dict[str, Any]]:
        """The slots before one, each with the one action to draw that it drew."""
        slots = list(situation.slots[:before])
        for one in self.drawn:
            if one.slot < before:
                slots[one.slot] = {**slots[one.slot], "_inc": [one.action]}
        return slots


class _Example(msgspec.Struct, gc=False):
    context: list[Any] = msgspec.field(name="FromUrl")
    actions: list[dict[str, Any]] = msgspec.field(name="_multi")
    slots: list[dict[str, Any]] = msgspec.field(name="_slots", default_factory=list)

    @property
    def situation(self) -> Situation:
        return Situation(self.context, self.actions, self.slots)


class _Single(msgspec.Struct, gc=False):
    """A line without slots; unsound labels are refused."""

    cost: Cost = msgspec.field(name="_label_cost")
    probability: Probability = msgspec.field(name="_label_probability")
    drawn: Annotated[int, Meta(ge=0)] = msgspec.field(name="_labelIndex")
    example: _Example = msgspec.field(name="c")
    shares: list[float] = msgspec.field(name="p", default_factory=list)

    def logged(self) -> Logged:
        among = len(self.example.actions)
        probability = drawn_with(self.probability, self.shares[0] if self.shares else 0.0)
        drawn = Drawn(0, self.drawn, among, probability, 0.0 - self.cost)
        return Logged(self.example.situation, [drawn] if self.drawn < among else [])


class _Slotted(msgspec.Struct, gc=False):
    """A line with slots, likewise."""

    outcomes: list[Outcome] = msgspec.field(name="_outcomes")
    example: _Example = msgspec.field(name="c")

    def logged(self) -> Logged:
        drawn = [
            Drawn(slot, one.actions[0], len(one.actions), one.shares[0], 0.0 - one.cost)
            for slot, one in enumerate(self.outcomes)
            if one.actions
        ]
        known = range(len(self.example.actions))
        sound = len(self.outcomes) == len(self.example.slots) and all(one.action in known for one in drawn)
        return Logged(self.example.situation, drawn if sound else [])


_single = msgspec.json.Decoder(_Single).decode
_slotted = msgspec.json.Decoder(_Slotted).decode


def read(lines: Iterable[bytes], multi_slot: bool) -> Iterator[Logged]:
    """The events of joined lines; what cannot be read is left out, and where nothing was drawn."""
    for line in lines:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            found = (_slotted(line) if multi_slot else _single(line)).logged()
            if found.drawn:
                yield found


def told(model: ServingModel, events: Sequence[Logged], situations: Iterable[Situation]) -> list[float]:
    """What `Logged.probabilities` has for each event in a situation of its own, one behind the other."""
    return [
        probability
        for event, situation in zip(events, situations, strict=True)
        for probability in event.probabilities(model, situation)
    ]
