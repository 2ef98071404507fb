"""Turns what became of an event into the JSON that tells it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType


def _is(text: str, **schema: Any) -> Meta:
    return Meta(description=text, extra_json_schema=schema or None)


_Time = Annotated[str, _is("By the storage's clock, ISO 8601.", examples=["2026-01-31T00:00:00.000000Z"])]


class ToldAction(msgspec.Struct, rename="camel"):
    """An action, and how probable it was that it would be drawn."""

    id: str
    probability: float


class ToldRank(msgspec.Struct, rename="camel"):
    """The Rank call."""

    time: _Time
    mode: Annotated[str, _is("The learning mode.")]
    model_version: Annotated[str | None, _is("That decided; null where none did.")]
    exploration: Annotated[float | None, _is("That the model was loaded with; null where it was not written down.")]
    seeds: Annotated[list[int], _is("Of the draw; in multi-slot, of each slot's. Where nothing was drawn, of no use.")]
    draws: Annotated[
        list[float],
        _is("What each seed gives, in [0, 1): it falls into the drawn action's step, the most probable one first."),
    ]
    deferred: Annotated[bool, _is("Whether the event waited for activation.")]
    subject: Annotated[bool, _is("Whether the caller named a subject.")]
    holdback: Annotated[bool, _is("Whether it was held back from the model, for comparison.")]
    holdback_share: Annotated[float, _is("The share of decisions that were.")]


class ToldSlot(msgspec.Struct, rename="camel"):
    """What was decided for a slot."""

    id: str
    ranking: Annotated[list[ToldAction], _is("The drawn action first; empty where earlier slots took all.")]
    baseline: Annotated[str, _is("The action that stands there without learning.")]


class ToldDecision(msgspec.Struct, rename="camel", omit_defaults=True):
    """What was drawn. In Apprentice mode the answer showed the baseline in its place."""

    ranking: Annotated[list[ToldAction] | UnsetType, _is("In single slot: the drawn action first.")] = UNSET
    excluded: Annotated[list[str] | UnsetType, _is("In single slot: the ids of excluded actions.")] = UNSET
    slots: Annotated[list[ToldSlot] | UnsetType, _is("In multi-slot.")] = UNSET


class ToldObservation(msgspec.Struct, rename="camel", omit_defaults=True):
    """A reward, or an activation."""

    time: _Time
    kind: Literal["reward", "activation"]
    arrived: Annotated[Literal["early", "inTime", "late"], _is("Against the reward wait.")]
    repeated: Annotated[bool, _is("Whether it repeats another one under the same request id.")]
    counted: Annotated[
        bool | UnsetType, _is("Whether it is among what the event's reward is made of, where that is known.")
    ] = UNSET
    value: Annotated[float | UnsetType, _is("Of a reward.")] = UNSET
    slot: Annotated[str | UnsetType, _is("Of a reward in multi-slot.")] = UNSET


class ToldWindow(msgspec.Struct, rename="camel"):
    """The window of the joined log that holds the event."""

    since: Annotated[_Time, _is("Its first moment.")] = msgspec.field(name="from")
    to: Annotated[_Time, _is("The moment after its last.")]


class ToldReward(msgspec.Struct, rename="camel", omit_defaults=True):
    """What the rewards came to."""

    aggregated: Annotated[float, _is("Of the rewards that counted, or the default.")]
    learned: Annotated[float, _is("Within the bounds of learning; in Apprentice mode, whether the baseline was drawn.")]
    slot: Annotated[str | UnsetType, _is("In multi-slot.")] = UNSET


class ToldReplay(msgspec.Struct, rename="camel", omit_defaults=True):
    """The decision, computed anew; or why it cannot be."""

    answer: Annotated[msgspec.Raw | UnsetType, _is("The body, byte for byte; less an explanation.", type="object")] = (
        UNSET
    )
    sha256: Annotated[str | UnsetType, _is("Of the answer's bytes.")] = UNSET
    same: Annotated[bool | UnsetType, _is("Whether it is what the log holds: order, probabilities and draw.")] = UNSET
    cannot_replay: Annotated[str | UnsetType, _is("Why there is no answer.")] = UNSET


class ToldEvent(msgspec.Struct, rename="camel"):
    """One time that an event id was ranked, and what became of it."""

    event_id: Annotated[str, _is("As the caller spelled it.")]
    state: Annotated[
        Literal["pending", "joined", "retry"],
        _is("A retry repeats the rank before it within two minutes: it is not in the log."),
    ]
    ranked: ToldRank
    decision: ToldDecision
    activated: Annotated[_Time | None, _is("When the first activation that counts arrived.")]
    observations: Annotated[list[ToldObservation], _is("In order of arrival.")]
    pending_until: Annotated[_Time | None, _is("While it is pending: when it can be joined, at the earliest.")]
    window: ToldWindow | None
    rewards: Annotated[list[ToldReward], _is("Once it is joined; one for each slot that had an action.")]
    trained_into: Annotated[str | None, _is("The model version that was the first to learn it; null while none has.")]
    replay: ToldReplay


class Story(msgspec.Struct, rename="camel"):
    """All that the log holds of an event id."""

    event_id: Annotated[str, _is("As the call spelled it.")]
    events: Annotated[list[ToldEvent], _is("In order of time: an id may be ranked again after two minutes.")]
    missing: Annotated[list[str], _is("Why there may be more, in sentences for people.")]


class ToldShare(msgspec.Struct, rename="camel"):
    """What a feature of an action and its context, or several together, added to the reward expected of it."""

    name: Annotated[str, _is("Namespace and name; ^ stands between those of several.")]
    score: Annotated[float, _is("Positive where it spoke for the action.")]


class ToldExpectation(msgspec.Struct, rename="camel"):
    """What the model expected of an action."""

    id: str
    probability: float
    score: Annotated[float, _is("What all its features came to.")]
    features: Annotated[list[ToldShare], _is("The strongest first.")]


class ToldExplanation(msgspec.Struct, rename="camel", omit_defaults=True):
    """Why a decision was taken, or why that cannot be told."""

    time: _Time
    model_version: Annotated[str | None, _is("That decided; null where none did.")]
    actions: Annotated[list[ToldExpectation] | UnsetType, _is("The drawn one first, 50 at most.")] = UNSET
    cannot_explain: Annotated[str | UnsetType, _is("Why there are none.")] = UNSET


class Explanations(msgspec.Struct, rename="camel"):
    """Why the decisions under an event id were taken, each by the model version that took it."""

    event_id: Annotated[str, _is("As the call spelled it.")]
    events: Annotated[list[ToldExplanation], _is("In order of time: an id may be ranked again after two minutes.")]
    missing: Annotated[list[str], _is("Why there may be more, in sentences for people.")]
