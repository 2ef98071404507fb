"""Turns what was counted of features into findings: ids, dead ones, and numbers that drown the rest.

A feature is named by its path. Names are the caller's own, and are told to whoever may read events' stories, too; one
that few events have is not told, since it may be data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from shared.health import distinct
from shared.health.catalogue import ENOUGH, Finding, finding
from shared.health.features import PLACES, Feature, Features

_COMMON = 0.01
"""Share of contexts, actions or slots that have a feature, without which nothing is said of it, nor its name shown."""
_NEW = 0.3
"""Distinct values to values, from which on a feature is an id: each comes three times or so."""
_SHOWN = 20
"""Features that are told of one kind."""
_Named = list[tuple[str, Feature]]


class Told(NamedTuple):
    """A feature that may be told by name.

    Attributes:
        path: names it.
        counted: what was counted of it.
        of: how many contexts, actions or slots might have it.
        codes: of the findings about it.
    """

    path: str
    counted: Feature
    of: int
    codes: list[str]


def told(counted: Features) -> list[Told]:
    """The features that many events have, the commonest first."""
    flagged = {code: {path for path, _ in found} for code, found in _flagged(counted).items()}
    return [
        Told(path, feature, _of(path, counted), [code for code, paths in flagged.items() if path in paths])
        for path, feature in sorted(_common(counted).items(), key=lambda item: (-item[1].seen, item[0]))
    ]


def of_features(counted: Features) -> Iterator[Finding]:
    """The findings about features."""
    flagged = {code: found[:_SHOWN] for code, found in _flagged(counted).items()}
    for path, feature in flagged["valuesAreIds"]:
        different = distinct.estimate(feature.distinct)
        yield finding(
            "valuesAreIds",
            f"{_name(path)} looks like an id: about {different:.0f} different values in {feature.texts}.",
            values=feature.texts,
            distinct=different,
        )
    for path, feature in flagged["numbersLarge"]:
        yield finding(
            "numbersLarge",
            f"{_name(path)} is beyond a million in {feature.large} of {feature.seen}.",
            seen=feature.seen,
            large=feature.large,
        )
    for place in PLACES:
        names, seen = distinct.estimate(counted.names.get(place, b"")), counted.places.get(place, 0)
        if seen >= ENOUGH and names >= ENOUGH and names >= _NEW * seen:
            yield finding(
                "namesAreValues",
                f"The names of features grow with the events: about {names:.0f} different ones in {seen} {place}s.",
                seen=seen,
                names=names,
            )
    for path, feature in flagged["featureConstant"]:
        always = "is empty, 0 or false" if feature.empty == feature.seen else "has the same value"
        yield finding("featureConstant", f"{_name(path)} {always} in all of {feature.seen}.", seen=feature.seen)


def _common(counted: Features) -> dict[str, Feature]:
    """The features that are told by name."""
    return {
        path: feature
        for path, feature in counted.named.items()
        if feature.seen >= max(ENOUGH, _COMMON * _of(path, counted))
    }


def _flagged(counted: Features) -> dict[str, _Named]:
    """Features by the code of what was found of them, the worst first."""
    named = _common(counted)
    constant = {path: feature for path, feature in named.items() if _constant(path, feature, counted)}
    return {
        "valuesAreIds": _worst(named, _new, _NEW),
        "numbersLarge": _worst(named, lambda feature: feature.large / feature.seen, _COMMON),
        # where nothing varies, it is the traffic that is all alike
        "featureConstant": _worst(constant, lambda feature: feature.seen, 0.0) if len(constant) < len(named) else [],
    }


def _worst(named: dict[str, Feature], measure: Callable[[Feature], float], least: float) -> _Named:
    """Those features that measure so much at least, by path, the worst first."""
    found = [item for item in named.items() if measure(item[1]) >= least]
    return sorted(found, key=lambda item: -measure(item[1]))


def _new(feature: Feature) -> float:
    """How many of its texts are new ones, as a share."""
    return distinct.estimate(feature.distinct) / feature.texts if feature.texts >= ENOUGH else 0.0


def _of(path: str, counted: Features) -> int:
    """How many contexts, actions or slots might have a feature."""
    return next(count for place, count in counted.places.items() if path.startswith(place))


def _constant(path: str, feature: Feature, counted: Features) -> bool:
    return feature.empty == feature.seen or (feature.value is not None and feature.seen == _of(path, counted))


def _name(path: str) -> str:
    return repr(path if len(path) <= 100 else f"{path[:99]}…")
