"""Turns a model version, and the difference of two, into the types of Rankloop's own answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, UnsetType

from shared.contract import instants


def _is(text: str, **schema: Any) -> Meta:
    return Meta(description=text, extra_json_schema=schema)


_Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


def spell(time: float | None) -> str | None:
    """An instant as these answers spell it."""
    return None if time is None else instants.spell(time)


class ToldVersion(msgspec.Struct, rename="camel"):
    """A model version."""

    version: Annotated[str, _is("Its name: how far it is trained, in seconds since the epoch, and its bytes' hash.")]
    created: _Time
    parent: Annotated[str | None, _is("The newest version before it.")]
    base: Annotated[str | None, _is("The version that it learned on from; null for one that was begun anew.")]
    policy: Annotated[str, _is("The VW options that it was made with.")]
    mode: Annotated[str, _is("The learning mode whose events it learned.")]
    events: Annotated[int, _is("How many events it has learned in all.")]
    learned: Annotated[int, _is("Of them, those since its base.")]
    skipped: Annotated[int, _is("Lines since then that are not for learning.")]
    refused: Annotated[int, _is("Lines since then that VW would not take.")]
    reward: Annotated[float | None, _is("What it earned as it learned, on average, by IPS; null in multi-slot.")]
    learned_from: Annotated[_Time | None, _is("Where what it learned since its base begins, if that is known.")]
    trained_through: Annotated[_Time, _is("All that was joined before is learned, or passed over.")]
    imported: Annotated[bool, _is("Whether it came from outside.")]
    blank: Annotated[bool, _is("Whether it stands for a deleted model.")]
    stored: Annotated[bool, _is("Whether its bytes are; those that were thinned out are rebuilt from the log.")]
    serves: bool
    pinned: Annotated[bool, _is("Whether it serves until it is unpinned.")]
    learns: Annotated[bool, _is("Whether learning goes on from it.")]
    held_back: Annotated[str | None, _is("Why it was not served when it was made, in a sentence for people.")]


class ToldVersions(msgspec.Struct, rename="camel", omit_defaults=True):
    """A page of a loop's versions, the newest first."""

    value: list[ToldVersion]
    next_link: Annotated[str | UnsetType, _is("The address of the next page.")] = msgspec.UNSET


class ToldOption(msgspec.Struct, rename="camel", omit_defaults=True):
    """A VW option that differs."""

    name: str
    change: Literal["added", "removed", "changed"]
    values: Annotated[list[str] | UnsetType, _is("Of this version; empty texts for flags.")] = msgspec.UNSET
    other: Annotated[list[str] | UnsetType, _is("Of the other version.")] = msgspec.UNSET


class ToldWeights(msgspec.Struct, rename="camel"):
    """How far the weights of two versions are apart."""

    nonzero: Annotated[int, _is("Weights of this version that are not zero.")]
    other_nonzero: int
    differ: Annotated[int, _is("Weights that are not the same in both.")]
    largest_change: float
    distance: Annotated[float, _is("Euclidean.")]


class ToldDifference(msgspec.Struct, rename="camel"):
    """How a version differs from another one."""

    version: str
    other: str
    policy: Annotated[list[ToldOption], _is("Options that differ, whatever their order.")]
    mode: Annotated[list[str], _is("Of this version and of the other.", minItems=2, maxItems=2)]
    events: Annotated[int, _is("How many more this version has learned.")]
    reward: Annotated[float | None, _is("How much more it earned on average as it learned; each on its own events.")]
    weights: Annotated[
        ToldWeights | None,
        _is("Null where a version's bytes are not stored, are large, or both have different tables of weights."),
    ]
