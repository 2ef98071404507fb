"""Turns decoded JSON of features into what VW may see, feature by feature, or into words for a refusal."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from shared.contract.errors import ApiError

MAX_DEPTH = 6
"""Levels of objects and arrays below the feature list; VW's reader recurses on its own stack."""
MAX_KEY = 256
MAX_STRING = 65_536
MAX_NODES = 20_000
"""Members, array items and objects of the context; walking them all takes about 10 ms."""
MAX_ACTION_NODES = 2_000
"""The same of an action or a slot."""
MAX_NUMBER = 1e19
"""Features are 32-bit floats in VW: the product of two must not be infinite. Every signed 64-bit integer is below."""

Namespaces = frozenset[tuple[str, int]]
"""How many features there are at most by the initial of their namespace, which is what interactions go by."""


@lru_cache(maxsize=4096)
def same(namespaces: Namespaces) -> Namespaces:
    """The one object for all that are equal: most actions have the same, and identity is what can be told at once."""
    return namespaces


def type_name(value: object) -> str:
    """What JSON calls the type of a value, with its article."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


class _Misfit(Exception):
    """What is wrong with a feature; its place grows at the front as the walk is left."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = ""

    def within(self, place: str) -> None:
        self.place = place + self.place


class Walk:
    """Rebuilds decoded JSON feature by feature, and counts the features.

    Args:
        limit: members, array items and objects after which it gives up.

    Attributes:
        nodes: how many it has seen.
    """

    def __init__(self, limit: int) -> None:
        self.nodes = 0
        self._limit = limit
        self._counts: dict[str, int] = {}

    @property
    def namespaces(self) -> Namespaces:
        """What was counted."""
        return same(frozenset(self._counts.items()))

    def count(self, initial: str, features: int) -> None:
        """Count features of a namespace of this initial."""
        if features:
            self._counts[initial] = self._counts.get(initial, 0) + features

    def feature_list(self, given: Any, where: str, initial: str, skip_null: bool = False) -> list[dict[str, Any]]:
        """Rebuild a list of objects.

        Args:
            given: the list, if it is one.
            where: its place, for messages.
            initial: of the namespace that the objects' own features are in.
            skip_null: pass over nulls in the list.

        Raises:
            ApiError: BadRequest when it is no list, InvalidRankRequest when a feature breaks a rule.
        """
        if not isinstance(given, list):
            raise ApiError("BadRequest", f"{where} must be an array of objects, not {type_name(given)}.", where)
        try:
            self._visit(len(given))
            return self._objects(given, 1, initial, skip_null)
        except _Misfit as e:
            raise ApiError("InvalidRankRequest", f"{where}{e.place} {e.problem}.", where + e.place) from e

    def _visit(self, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > self._limit:
            raise _Misfit("has too many members, objects and array items")

    def _objects(self, given: list[Any], depth: int, initial: str, skip_null: bool = False) -> list[dict[str, Any]]:
        built = []
        for n, item in enumerate(given):
            if item is None and skip_null:
                continue
            try:
                built.append(self._object(item, depth, initial))
            except _Misfit as e:
                e.within(f"[{n}]")
                raise
        return built

    def _object(self, given: Any, depth: int, initial: str) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise _Misfit(f"must be an object of features, not {type_name(given)}")
        if depth > MAX_DEPTH:
            raise _Misfit(f"is nested deeper than {MAX_DEPTH} levels")
        self._visit(len(given))
        built: dict[str, Any] = {}
        plain = 0
        for name, value in given.items():
            key = name.replace("\0", "_") if "\0" in name else name
            if not key:
                raise _Misfit("has a feature with an empty name")
            if key[0] == "_":
                continue  # reserved by VW; Personalizer documents that it ignores them
            try:
                if len(key) > MAX_KEY:
                    raise _Misfit(f"has a name of {len(key)} characters; at most {MAX_KEY} are allowed")
                if isinstance(value, dict):
                    below = _namespace(key)
                    built[below] = self._object(value, depth + 1, below[0])
                elif isinstance(value, list):
                    below = _namespace(key)
                    built[below] = self._array(value, depth + 1, below[0])
                elif value is not None:
                    built[key] = _scalar(value)
                    plain += 1
            except _Misfit as e:
                e.within(f".{key[:64]}")
                raise
        self.count(initial, plain)
        return built

    def _array(self, given: list[Any], depth: int, initial: str) -> list[Any]:
        if depth > MAX_DEPTH:
            raise _Misfit(f"is nested deeper than {MAX_DEPTH} levels")
        self._visit(len(given))
        if given and all(isinstance(item, dict) for item in given):
            return self._objects(given, depth, initial)
        built = []
        for n, item in enumerate(given):
            if item is None:
                continue
            try:
                if isinstance(item, bool) or not isinstance(item, int | float):
                    raise _Misfit(f"must be a number, since feature arrays hold numbers, not {type_name(item)}")
                built.append(_scalar(item))
            except _Misfit as e:
                e.within(f"[{n}]")
                raise
        self.count(initial, len(built))
        return built


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        if len(value) > MAX_STRING:
            raise _Misfit(f"has {len(value)} characters; at most {MAX_STRING} are allowed")
        return value.replace("\0", "_") if "\0" in value else value
    if isinstance(value, bool):
        return value
    if not -MAX_NUMBER <= value <= MAX_NUMBER:  # as no NaN is
        raise _Misfit(f"must be a number of at most {MAX_NUMBER:g} in size")
    return value if -(2**31) <= value <= 2**31 else float(value)


def _namespace(key: str) -> str:
    # VW indexes a table of 256 with a namespace's first byte, as a signed char; `:` and `|` end names in its text form.
    return key if 32 < ord(key[0]) < 126 and key[0] not in ":|" else "x" + key
