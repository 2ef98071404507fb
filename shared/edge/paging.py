"""Turns the query of a list into the page that it asks for, and what follows that page into the link to it.

The clients follow the link as it is; it counts from the start of the list, so that nothing is kept between two calls
(contract 1.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, urlencode

from shared.contract.configurations import INT32_MAX
from shared.contract.errors import ApiError

MAX_SIZE = 100
_WHOLE = re.compile(r"\d{1,10}", re.ASCII)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Attributes:
        top: how many items this page and all after it may hold.
        skip: how many stand before it.
        size: how many it holds itself, at most.
    """

    top: int = INT32_MAX
    skip: int = 0
    size: int = MAX_SIZE

    def of(self, items: Sequence[T]) -> tuple[Sequence[T], Page | None]:
        """The page's part of all items, and the page that follows; None behind the last one."""
        end = min(self.skip + min(self.top, self.size), len(items))
        shown = items[self.skip : end]
        following = Page(self.top - len(shown), end, self.size)
        return shown, following if following.top and end < len(items) else None

    def link(self, url: str, query: Mapping[str, str]) -> str:
        """The address of the page.

        Args:
            url: the list's, with nothing behind the path.
            query: by which an earlier page was asked for.
        """
        kept = {name: query[name] for name in ("api-version", "filter") if name in query}
        numbers = {"top": self.top, "skip": self.skip, "maxpagesize": self.size}
        return f"{url}?{urlencode({**kept, **numbers}, quote_via=quote)}"


def read(query: Mapping[str, str]) -> Page:
    """The page that a query asks for.

    Raises:
        ApiError: BadRequest when top, skip or maxpagesize is no number that it can be.
    """
    return Page(
        _number(query, "top", INT32_MAX, 0),
        _number(query, "skip", 0, 0),
        # A page may be shorter than was asked for, but an empty one would have no end.
        min(_number(query, "maxpagesize", MAX_SIZE, 1), MAX_SIZE),
    )


def _number(query: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= INT32_MAX:
        message = f"{name} must be a whole number from {least} to {INT32_MAX}; it is {text[:64]!r}."
        raise ApiError("BadRequest", message, name)
    return int(text)
