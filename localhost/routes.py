"""Turns an ASP.NET route template, such as `events/{id:length(1,256)}/{*rest}`, into a `Route` that matches paths."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from localhost.config import StartError
from localhost.constraints import Check, parse_constraint

_SYMBOL = re.compile(r"\{\{|\}\}|[{}/]|[^{}/]+")
_NAME = re.compile(r"[^/:?=*()]+")
# An argument list ends at the bracket that another constraint, a default or nothing follows: expressions hold brackets.
_CONSTRAINT = re.compile(r":([^:=(]+(?:\(.*?\)(?=[:=]|$))?)", re.DOTALL)
# ASP.NET's precedence digits: what is more specific is tried first.
_LITERAL, _MIXED, _PARAMETER, _CATCH_ALL = 1, 2, 4, 5


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    checks: tuple[Check, ...]
    default: str | None
    optional: bool
    catch_all: bool

    @property
    def may_be_missing(self) -> bool:
        return self.optional or self.catch_all or self.default is not None


_Segment = list[str | _Parameter]


class Route:
    """One template, ready to match.

    Attributes:
        template: the text it was made from, without outer slashes.
        precedence: sorts routes in the order in which ASP.NET tries them, most specific first.
        first: the first segment, in lower case, where that is literal; else None.
        literal: the whole path, in lower case, where the template has no parameter; else None.
    """

    __slots__ = ("_checks", "_defaults", "_names", "_pattern", "first", "literal", "precedence", "template")

    def __init__(self, template: str) -> None:
        """Parse the template; `StartError` where ASP.NET would refuse it."""
        self.template = template.strip("/")
        segments = _parse(self.template)
        parameters = [part for segment in segments for part in segment if isinstance(part, _Parameter)]
        self._names = tuple(parameter.name for parameter in parameters)
        if len({name.lower() for name in self._names}) < len(self._names):
            raise StartError(f"route {template!r}: a parameter's name occurs twice")
        self._defaults = {p.name: p.default for p in parameters if p.default is not None}
        self._checks = tuple((p.name, check) for p in parameters for check in p.checks)
        self.precedence = tuple(_digit(segment) for segment in segments)
        words = [segment[0] if _digit(segment) == _LITERAL else None for segment in segments]
        self.literal = None if parameters else "/" + "/".join(str(word).lower() for word in words)
        head = words[0] if words else None
        self.first = head.lower() if isinstance(head, str) else None
        self._pattern = re.compile(_pattern(segments), re.IGNORECASE | re.ASCII | re.DOTALL)

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters that a decoded path (with its first slash) holds; None where it is not this route's."""
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        values = dict(self._defaults)
        for name, value in zip(self._names, found.groups(), strict=True):
            if value is not None:
                values[name] = value
        for name, check in self._checks:
            if name in values and not check(values[name]):
                return None
        return values


def _parse(template: str) -> list[_Segment]:
    """Split a template into segments of literal texts and parameters."""
    if not template:
        return []
    segments: list[_Segment] = [[]]
    literal = ""
    inside: str | None = None
    for symbol in _SYMBOL.findall(template):
        if inside is not None:
            if symbol == "{":
                raise StartError(f"route {template!r}: a brace within a parameter must be doubled")
            if symbol == "}":
                segments[-1].append(_parameter(inside, template))
                inside = None
            else:
                inside += symbol
        elif symbol in ("{", "/"):
            if literal:
                segments[-1].append(literal)
                literal = ""
            if symbol == "/":
                segments.append([])
            else:
                inside = ""
        elif symbol == "}":
            raise StartError(f"route {template!r}: a closing brace has no opening one")
        else:
            literal += symbol[0] if symbol in ("{{", "}}") else symbol
    if inside is not None:
        raise StartError(f"route {template!r}: an opening brace has no closing one")
    if literal:
        segments[-1].append(literal)
    for index, segment in enumerate(segments):
        _check_segment(segment, template, is_last=index == len(segments) - 1)
    return segments


def _check_segment(segment: _Segment, template: str, *, is_last: bool) -> None:
    if not segment:
        raise StartError(f"route {template!r}: two slashes follow each other")
    for part, following in itertools.pairwise(segment):
        if isinstance(part, _Parameter) and isinstance(following, _Parameter):
            raise StartError(f"route {template!r}: two parameters follow each other with nothing between")
    for part in segment:
        if isinstance(part, _Parameter) and part.catch_all and not (is_last and len(segment) == 1):
            raise StartError(f"route {template!r}: a catch-all must be the whole last segment")
        if isinstance(part, _Parameter) and part.optional and len(segment) > 1:
            # ASP.NET has one such form, {name}.{extension?}, which no route of ours needs.
            raise StartError(f"route {template!r}: an optional parameter must be a whole segment")


def _parameter(text: str, template: str) -> _Parameter:
    """Read what stands between a parameter's braces."""
    body = text.lstrip("*")
    optional = body.endswith("?")
    if optional:
        body = body[:-1]
    name = _NAME.match(body)
    if name is None or len(text) - len(text.lstrip("*")) > 2:
        raise StartError(f"route {template!r}: {{{text}}} is not a parameter")
    position = name.end()
    checks = []
    while found := _CONSTRAINT.match(body, position):
        checks.append(parse_constraint(found[1], template))
        position = found.end()
    rest = body[position:]
    if rest and not rest.startswith("="):
        raise StartError(f"route {template!r}: {rest!r} in {{{text}}} is neither a constraint nor a default")
    if rest and optional:
        raise StartError(f"route {template!r}: {{{text}}} cannot be optional and have a default")
    return _Parameter(name[0], tuple(checks), rest[1:] if rest else None, optional, catch_all=text.startswith("*"))


def _digit(segment: _Segment) -> int:
    part = segment[0]
    if len(segment) > 1:
        return _MIXED
    if isinstance(part, str):
        return _LITERAL
    return (_CATCH_ALL if part.catch_all else _PARAMETER) - (1 if part.checks else 0)


def _pattern(segments: Iterable[_Segment]) -> str:
    """Return the expression of a whole path; one slash at its end is ignored, as the host does."""
    pattern = ""
    missing_allowed = True
    # From the right, since a segment may be missing only where everything after it may.
    for segment in reversed(list(segments)):
        part = segment[0]
        missing_allowed = missing_allowed and len(segment) == 1 and isinstance(part, _Parameter) and part.may_be_missing
        if isinstance(part, _Parameter) and part.catch_all:
            # An empty segment matches nothing, not even the start of a catch-all; further in it is kept.
            piece = "/((?!/).+)"
        else:
            # Greedy: ASP.NET looks for a mixed segment's literals from the right.
            piece = "/" + "".join(re.escape(p) if isinstance(p, str) else "([^/]+)" for p in segment)
        pattern = f"(?:{piece}{pattern})?" if missing_allowed else piece + pattern
    return pattern + "/?"
