"""Turns the features of decisions into the same ones with one feature permuted, all others as they were.

A feature is a member of the example by the namespace that VW reads it in and its name (contract 6). A context feature
is permuted across decisions, an action's among the actions of one decision, a slot's across all slots of all decisions:
so each keeps the values that it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np

CONTEXT: Final = "FromUrl"
OWN: Final = {"action": "j", "slot": "sj"}
"""Where the features of an action and of a slot lie that are in no namespace of the caller's."""
Part = Literal["context", "action", "slot"]
_MADE_HERE: Final = ("i", "constant")
"""The same for all actions and decisions, and no caller's."""


class Feature(NamedTuple):
    """A feature.

    Attributes:
        namespace, name: as the contract spells them (5.11); an array of numbers has its key for both.
        part: of the decision, of which it says something.
    """

    namespace: str
    name: str
    part: Part


class Situation(NamedTuple):
    """What a decision was about, decoded: the array under `FromUrl`, the elements of `_multi`, and of `_slots`."""

    context: list[Any]
    actions: list[dict[str, Any]]
    slots: Sequence[dict[str, Any]] = ()


def features(situations: Sequence[Situation]) -> list[Feature]:
    """The features of situations, those first that come in the most of them."""
    counted = Counter[Feature]()
    for situation in situations:
        found = {Feature(*member, "context") for member, _ in _members(situation.context, CONTEXT)}
        found |= {Feature(*member, "action") for one in situation.actions for member, _ in _members(one, "")}
        found |= {Feature(*member, "slot") for one in situation.slots for member, _ in _members(one, "")}
        counted.update(found)
    listed = sorted(counted, key=lambda feature: (-counted[feature], feature))
    return [feature for feature in listed if feature[:2] != _MADE_HERE]


def permuted(situations: Sequence[Situation], feature: Feature, random: np.random.Generator) -> Iterator[Situation]:
    """The situations in their order, with one feature permuted.

    Args:
        situations: any.
        feature: one of theirs.
        random: draws the permutations.
    """
    of = feature[:2]
    if feature.part == "action":
        for situation in situations:
            held = [_values(action, "", of) for action in situation.actions]
            drawn = random.permutation(len(held)).tolist()
            actions = [_own(one, "action", of, held[n]) for one, n in zip(situation.actions, drawn, strict=True)]
            yield situation._replace(actions=actions)
    elif feature.part == "slot":
        held = [_values(slot, "", of) for situation in situations for slot in situation.slots]
        left = iter(random.permutation(len(held)).tolist())
        for situation in situations:
            yield situation._replace(slots=[_own(one, "slot", of, held[next(left)]) for one in situation.slots])
    else:
        values = [_values(situation.context, CONTEXT, of) for situation in situations]
        for situation, n in zip(situations, random.permutation(len(values)).tolist(), strict=True):
            yield situation._replace(context=_context(situation.context, of, values[n]))


def _members(part: Any, namespace: str) -> Iterator[tuple[tuple[str, str], Any]]:
    """The features of a part, each with its value, in the order of the text."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key.startswith("_"):
                continue
            if _nested(value):
                yield from _members(value, key)
            else:
                yield _named(namespace, key, value), value
    else:
        for item in part:
            yield from _members(item, namespace)


def _nested(value: Any) -> bool:
    """Whether a value holds features, be it none, rather than being one's."""
    if isinstance(value, list):
        return not value or any(isinstance(one, dict) for one in value)
    return isinstance(value, dict)


def _named(namespace: str, key: str, value: Any) -> tuple[str, str]:
    return (key, key) if isinstance(value, list) else (namespace, key)


def _values(part: Any, namespace: str, of: tuple[str, str]) -> list[Any]:
    return [value for member, value in _members(part, namespace) if member == of]


def _with(part: Any, namespace: str, of: tuple[str, str], values: list[Any]) -> Any:
    """A copy of a part with other values of a feature; where there are fewer of them, without the last ones.

    The values that find a place are taken from the list.
    """
    if isinstance(part, dict):
        built = {}
        for key, value in part.items():
            if _nested(value) and not key.startswith("_"):
                built[key] = _with(value, key, of, values)
            elif of != ((key, key) if isinstance(value, list) else (namespace, key)):
                built[key] = value
            elif values:
                built[key] = values.pop(0)
        return built
    return [_with(item, namespace, of, values) for item in part]


def _context(context: list[Any], of: tuple[str, str], values: list[Any]) -> list[Any]:
    left = list(values)
    built: list[Any] = _with(context, CONTEXT, of, left)
    return [*built, *_more(of, CONTEXT, left)]


def _own(
    held: dict[str, Any], part: Literal["action", "slot"], of: tuple[str, str], values: list[Any]
) -> dict[str, Any]:
    """An action or a slot with other values of a feature."""
    left = list(values)
    built: dict[str, Any] = _with(held, "", of, left)
    if left:
        own = OWN[part]
        built[own] = [*built.get(own, []), *_more(of, own, left)]
    return built


def _more(of: tuple[str, str], around: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """Objects that hold values of a feature, where there was no place for it; VW reads them in its namespace."""
    namespace, name = of
    if namespace == around:
        return [{name: value} for value in values]
    return [{name: value} if isinstance(value, list) else {namespace: {name: value}} for value in values]
