"""Turns a method and a path into the function that serves them and the parameters of its route."""

from __future__ import annotations

from collections.abc import Iterable

from localhost.config import StartError
from localhost.functions import Function, HttpTrigger
from localhost.routes import Route

# The host keeps everything that starts with these words, not only the whole segments.
_RESERVED = ("admin", "runtime")
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")

# The function, the level of key that it asks for, and the parameters of its route.
Match = tuple[Function, str, dict[str, str]]
_Entry = tuple[Route, Function, HttpTrigger]


class Router:
    """All HTTP functions, arranged so that a request meets few candidates."""

    def __init__(self, functions: Iterable[Function], prefix: str = "") -> None:
        """Take the functions with an HTTP trigger; others are passed over.

        Raises `StartError` where two functions claim a route, or one claims a route that belongs to the host.
        """
        served = [(f, f.trigger) for f in functions if isinstance(f.trigger, HttpTrigger)]
        _check_conflicts(served)
        entries = [(Route(f"{prefix}/{trigger.route}"), function, trigger) for function, trigger in served]
        # The sort is stable: routes of one precedence stay in the order of their registration.
        entries.sort(key=lambda entry: entry[0].precedence)
        self.routes = tuple((route, function) for route, function, _ in entries)
        active = [entry for entry in entries if not entry[1].disabled]
        self._tables = {
            method: _Table([entry for entry in active if not entry[2].methods or method in entry[2].methods])
            for method in _METHODS
        }

    def find(self, method: str, path: str) -> Match | None:
        """Return what serves the request, or None: a wrong method is as unknown as a wrong path, as in the host."""
        table = self._tables.get(method)
        return None if table is None else table.find(path)


class _Table:
    """The routes of one method, by their first segment."""

    def __init__(self, entries: list[_Entry]) -> None:
        # A wholly literal route precedes every other route that could match the same path. Reversed: the first wins.
        self._literal = {
            route.literal: (function, trigger.level)
            for route, function, trigger in reversed(entries)
            if route.literal is not None
        }
        patterns = [entry for entry in entries if entry[0].literal is None]
        firsts = {route.first for route, _, _ in patterns}
        self._by_first = {first: [e for e in patterns if e[0].first in (first, None)] for first in firsts}
        self._others = self._by_first.get(None, [])

    def find(self, path: str) -> Match | None:
        lowered = path.lower()
        literal = self._literal.get(lowered[:-1] if lowered.endswith("/") and len(lowered) > 1 else lowered)
        if literal is not None:
            return *literal, {}
        end = lowered.find("/", 1)
        first = lowered[1:] if end < 0 else lowered[1:end]
        for route, function, trigger in self._by_first.get(first, self._others):
            values = route.match(path)
            if values is not None:
                return function, trigger.level, values
        return None


def _check_conflicts(served: Iterable[tuple[Function, HttpTrigger]]) -> None:
    known: dict[str, list[tuple[Function, HttpTrigger]]] = {}
    for function, trigger in served:
        route = trigger.route.lower()
        if route.startswith(_RESERVED):
            raise StartError(f"function {function.name}: the route {trigger.route!r} is reserved for the host")
        for other, taken in known.setdefault(route, []):
            if not trigger.methods or not taken.methods or trigger.methods & taken.methods:
                raise StartError(f"functions {other.name} and {function.name} have the same route {trigger.route!r}")
        known[route].append((function, trigger))
