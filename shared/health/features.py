"""Turns the examples of events into what each feature is like: how often it comes, whether it varies, how large it is.

What is kept of a value is a hash at most. Names are kept as they are, of the `MOST` features that come most often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import orjson

from shared.health import distinct

MOST = 100
"""Features of which something is kept, of context, actions and slots together."""
LARGE = 1e6
"""A number beyond it drowns all others: weights are multiplied by it."""
CONTEXT, ACTION, SLOT = PLACES = ("context", "action", "slot")
"""Where features stand; their paths begin with it."""
ACTION_ID = "action:id"
"""The path of what Rankloop itself makes a feature of an action: its id."""


class Feature(msgspec.Struct, frozen=True, array_like=True):
    """What was counted of a feature.

    Attributes:
        seen: contexts, actions or slots that have it.
        texts: the texts among its values.
        large: numbers beyond `LARGE` among them.
        empty: those that have it as 0, false or an empty list, which VW leaves out.
        value: a hash of the value it has, while there is only one; None once there were two.
        distinct: a sketch of the texts.
    """

    seen: int = 0
    texts: int = 0
    large: int = 0
    empty: int = 0
    value: int | None = None
    distinct: bytes = b""


class Features(msgspec.Struct, frozen=True):
    """What was counted of all features.

    Attributes:
        places: how many contexts, actions and slots there were, by `PLACES`.
        named: by path: the place and the names of the members that lead to the feature, with dots between.
        names: by place, a sketch of the paths of all features, whether they are in `named` or not.
    """

    places: dict[str, int] = {}
    named: dict[str, Feature] = {}
    names: dict[str, bytes] = {}


class _Example(msgspec.Struct, gc=False):
    """The parts of an example, each as text: most actions are the same in many events."""

    context: msgspec.Raw = msgspec.field(name="FromUrl", default=msgspec.Raw(b"[]"))
    actions: list[msgspec.Raw] = msgspec.field(name="_multi", default_factory=list)
    slots: list[msgspec.Raw] = msgspec.field(name="_slots", default_factory=list)


class _Id(msgspec.Struct, gc=False):
    id: str


class _Action(msgspec.Struct, gc=False):
    i: _Id


_decode = msgspec.json.Decoder(_Example).decode
_decode_action = msgspec.json.Decoder(_Action).decode


def id_of(action: bytes) -> str:
    """The id of an action of an example, as VW saw it."""
    return _decode_action(action).i.id


class Counting:
    """Features of some examples: `add` each, then ask for what was `counted`."""

    def __init__(self) -> None:
        self._parts: dict[str, Counter[bytes]] = {place: Counter() for place in PLACES}

    def add(self, example: bytes) -> list[bytes]:
        """Count an example; returns its actions, each as text.

        Raises:
            msgspec.MsgspecError: it is no example.
        """
        parts = _decode(example)
        self._parts[CONTEXT][bytes(parts.context)] += 1
        actions = [bytes(action) for action in parts.actions]
        self._parts[ACTION].update(actions)
        if parts.slots:
            self._parts[SLOT].update(map(bytes, parts.slots))
        return actions

    def counted(self) -> Features:
        """What was counted."""
        places, named, names = {}, {}, {}
        for place, parts in self._parts.items():
            found = _count(place, parts)
            if parts:
                places[place] = parts.total()
                names[place] = distinct.sketch(path.encode() for path in found)
            named.update(found)
        return Features(places, _commonest(named), names)


def merge(one: Features, other: Features) -> Features:
    """What was counted in two runs."""
    places = {place: one.places.get(place, 0) + other.places.get(place, 0) for place in PLACES}
    named = dict(one.named)
    for path, feature in other.named.items():
        named[path] = _merged(named[path], feature) if path in named else feature
    names = {place: distinct.merge(one.names.get(place, b""), other.names.get(place, b"")) for place in PLACES}
    return Features(places, _commonest(named), names)


def _merged(one: Feature, other: Feature) -> Feature:
    return Feature(
        one.seen + other.seen,
        one.texts + other.texts,
        one.large + other.large,
        one.empty + other.empty,
        one.value if one.value == other.value else None,
        distinct.merge(one.distinct, other.distinct),
    )


def _commonest(named: dict[str, Feature]) -> dict[str, Feature]:
    if len(named) <= MOST:
        return named
    return dict(sorted(named.items(), key=lambda item: (-item[1].seen, item[0]))[:MOST])


def _count(place: str, parts: Mapping[bytes, int]) -> dict[str, Feature]:
    """The features of a place by path, from its parts and how often each came."""
    seen, texts, large, empty = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    strings: dict[str, set[str]] = {}
    first: dict[str, list[Any]] = {}
    varying = set[str]()
    for part, times in parts.items():
        found: dict[str, list[Any]] = {}
        for path, value in _features(place, part):
            found.setdefault(path, []).append(value)
        for path, values in found.items():
            seen[path] += times
            if first.setdefault(path, values) != values:
                varying.add(path)
            if not any(values):
                empty[path] += times
            for value in values:
                if isinstance(value, str):
                    texts[path] += times
                    strings.setdefault(path, set()).add(value)
                elif abs(value) > LARGE:
                    large[path] += times
    return {
        path: Feature(
            seen[path],
            texts[path],
            large[path],
            empty[path],
            None if path in varying else distinct.hash_of(orjson.dumps(first[path])),
            distinct.sketch(value.encode() for value in strings.get(path, ())),
        )
        for path in seen
    }


def _features(place: str, part: bytes) -> Iterator[tuple[str, Any]]:
    """The features of a part with their paths, from the layout in which `shared.ranking.features` has put them."""
    given = orjson.loads(part)
    if place == CONTEXT:
        yield from _walk(given, place)
    elif place == ACTION:
        yield ACTION_ID, given["i"]["id"]
        yield from _walk(given["j"], place)
    else:
        yield from _walk(given["sj"], place)


def _walk(given: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(given, dict):
        for name, value in given.items():
            yield from _walk(value, f"{path}.{name}")
    elif isinstance(given, list):
        for item in given:
            yield from _walk(item, path)
    elif given is not None:
        yield path, given
