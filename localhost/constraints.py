"""Turns one ASP.NET route constraint, such as `int` or `range(1,9)`, into a test of a segment's text."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from localhost.config import StartError

Check = Callable[[str], bool]

_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9][0-9,]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*", re.ASCII)
_DECIMAL = re.compile(r"\s*[+-]?(?:[0-9][0-9,]*\.?[0-9]*|\.[0-9]+)\s*", re.ASCII)
_ALPHA = re.compile(r"[A-Za-z]*")
_HEX = "[0-9a-fA-F]"
_DASHED = f"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}"
_GUID = re.compile(rf"{_HEX}{{32}}|{_DASHED}|\{{{_DASHED}\}}|\({_DASHED}\)")
_HTTP_DATE = "%a, %d %b %Y %H:%M:%S GMT"


def parse_constraint(text: str, template: str) -> Check:
    """Return the test that the constraint stands for; `StartError` (naming the template) where it is not one."""
    name, bracket, rest = text.partition("(")
    try:
        if not bracket:
            return _PLAIN[name.lower()]
        return _WITH_ARGUMENTS[name.lower()](rest.removesuffix(")"))
    except KeyError:
        raise StartError(f"route {template!r}: there is no constraint {text!r}") from None
    except (ValueError, re.error) as error:
        raise StartError(f"route {template!r}: the constraint {text!r} is wrong: {error}") from None


def _integer_of(bits: int) -> Check:
    # int.TryParse and long.TryParse are false beyond the type's range.
    limit = 1 << (bits - 1)

    def check(value: str) -> bool:
        return _INTEGER.fullmatch(value) is not None and -limit <= int(value) < limit

    return check


def _is_datetime(value: str) -> bool:
    # DateTime.TryParse knows more spellings; these are the ones that a URL is likely to hold.
    for parse in (datetime.fromisoformat, lambda text: datetime.strptime(text, _HTTP_DATE)):
        try:
            parse(value)
        except ValueError:
            continue
        return True
    return False


def _at_least(arguments: str) -> Check:
    low = int(arguments)
    return lambda value: _IS_LONG(value) and int(value) >= low


def _at_most(arguments: str) -> Check:
    high = int(arguments)
    return lambda value: _IS_LONG(value) and int(value) <= high


def _range(arguments: str) -> Check:
    low, high = (int(part) for part in arguments.split(","))
    return lambda value: _IS_LONG(value) and low <= int(value) <= high


def _min_length(arguments: str) -> Check:
    low = int(arguments)
    return lambda value: len(value) >= low


def _max_length(arguments: str) -> Check:
    high = int(arguments)
    return lambda value: len(value) <= high


def _length(arguments: str) -> Check:
    bounds = [int(part) for part in arguments.split(",")]
    if len(bounds) > 2:
        raise ValueError("it takes one or two numbers")
    return lambda value: bounds[0] <= len(value) <= bounds[-1]


def _regex(arguments: str) -> Check:
    # Templates double braces and brackets to escape them. ASP.NET ignores case and does not anchor the expression.
    for char in "{}[]":
        arguments = arguments.replace(char * 2, char)
    pattern = re.compile(arguments, re.IGNORECASE)
    return lambda value: pattern.search(value) is not None


_IS_LONG = _integer_of(64)
_PLAIN: dict[str, Check] = {
    "int": _integer_of(32),
    "long": _IS_LONG,
    "bool": lambda value: value.strip().lower() in ("true", "false"),
    "alpha": lambda value: _ALPHA.fullmatch(value) is not None,
    "guid": lambda value: _GUID.fullmatch(value.strip()) is not None,
    "datetime": _is_datetime,
    "float": lambda value: _NUMBER.fullmatch(value) is not None,
    "double": lambda value: _NUMBER.fullmatch(value) is not None,
    "decimal": lambda value: _DECIMAL.fullmatch(value) is not None,
    "required": lambda value: value != "",
}
_WITH_ARGUMENTS: dict[str, Callable[[str], Check]] = {
    "min": _at_least,
    "max": _at_most,
    "range": _range,
    "minlength": _min_length,
    "maxlength": _max_length,
    "length": _length,
    "regex": _regex,
}
