"""Queries into pages, and pages into links that a client follows to the end."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.configurations import INT32_MAX
from shared.contract.errors import ApiError
from shared.edge import paging
from shared.edge.paging import MAX_SIZE, Page

URL = "http://host:7071/loops/shop/personalizer/evaluations"
VERSION = {"api-version": "2022-09-01-preview"}


def follow(items: list[int], query: dict[str, str]) -> list[list[int]]:
    """The pages that a client sees which follows each link as it is."""
    pages = []
    for _ in range(len(items) + 2):
        page = paging.read(query)
        shown, following = page.of(items)
        pages.append(list(shown))
        if following is None:
            return pages
        link = urlsplit(following.link(URL, query))
        query = dict(parse_qsl(link.query, strict_parsing=True))
    pytest.fail("the links never end")


@given(
    count=st.integers(0, 40),
    top=st.none() | st.integers(0, 50),
    skip=st.none() | st.integers(0, 50),
    size=st.none() | st.integers(1, 50),
)
def test_the_links_lead_through_every_item_once(
    count: int, top: int | None, skip: int | None, size: int | None
) -> None:
    items = list(range(count))
    asked = {"top": top, "skip": skip, "maxpagesize": size}

    pages = follow(items, {name: str(number) for name, number in asked.items() if number is not None})

    wanted = items[skip or 0 :][:top]
    assert [item for page in pages for item in page] == wanted
    assert all(len(page) == (size or MAX_SIZE) for page in pages[:-1])
    assert pages[-1] or len(pages) == 1, "an empty page is linked to"


def test_nothing_asked_for_is_the_first_hundred_of_all() -> None:
    assert paging.read({}) == Page(INT32_MAX, 0, 100)


def test_a_page_is_never_longer_than_the_largest() -> None:
    assert paging.read({"maxpagesize": "101"}).size == paging.read({"maxpagesize": str(INT32_MAX)}).size == 100
    assert paging.read({"maxpagesize": "99"}).size == 99


def test_the_link_is_that_of_the_published_example() -> None:
    page = paging.read({**VERSION, "maxpagesize": "2"})
    _, following = page.of([1, 2, 3])

    assert following is not None
    assert following.link(URL, VERSION) == (f"{URL}?api-version=2022-09-01-preview&top=2147483645&skip=2&maxpagesize=2")


def test_the_link_keeps_the_filter_and_nothing_unknown() -> None:
    query = {**VERSION, "filter": "metadata=evaluationType eq 'Manual'", "subscription-key": "secret", "a&b": "c"}

    link = Page(1, 2, 3).link(URL, query)

    assert dict(parse_qsl(urlsplit(link).query)) == {
        **VERSION, "filter": query["filter"], "top": "1", "skip": "2", "maxpagesize": "3",
    }  # fmt: skip
    assert " " not in link
    assert "+" not in link


@pytest.mark.parametrize("name", ["top", "skip", "maxpagesize"])
@pytest.mark.parametrize("text", ["", "-1", "1.5", "ten", "1e2", " 1", "+1", "٣", str(INT32_MAX + 1), "9" * 400])
def test_what_is_no_number_is_refused(name: str, text: str) -> None:
    with pytest.raises(ApiError) as refused:
        paging.read({name: text})

    assert (refused.value.code, refused.value.target) == ("BadRequest", name)
    assert name in refused.value.message


def test_the_bounds_are_numbers() -> None:
    largest = str(INT32_MAX)
    assert paging.read({"top": largest, "skip": largest}) == Page(INT32_MAX, INT32_MAX, 100)
    assert paging.read({"top": "0", "skip": "0", "maxpagesize": "1"}) == Page(0, 0, 1)
    with pytest.raises(ApiError, match="maxpagesize must be a whole number from 1 "):
        paging.read({"maxpagesize": "0"})
