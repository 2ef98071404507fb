"""Paths into routes: every route where it is, in each version that has it, and nothing anywhere else."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.access.roles import Role
from shared.contract.errors import ApiError
from shared.contract.versions import ALL, Version
from shared.edge.routes import PERSONALIZER, RANKLOOP, Found, Route, find
from shared.loops.loops import DEFAULT

HOLE = re.compile(r"\{\w+\}")
QUERY = {"api-version": Version.V2022.value}
LOOPS = (DEFAULT, "news", "a")
IDS = ("e1", "a/b", "a%2Fb", "a//b", "/a", "été 🎉", "a\nb", "A%20b", "{eventId}", "v1.0", "x" * 300)


def address(
    route: Route, version: Version | None, loop: str = DEFAULT, ident: str = "e1"
) -> tuple[str, dict[str, str]]:
    """The path and query of a route, in a version of Personalizer's or, where there is none, among Rankloop's own."""
    before = "" if loop == DEFAULT else f"loops/{loop}/"
    after = HOLE.sub(lambda _: ident, route.path)
    if version is None:
        return f"{before}rankloop/v1/{after}", {}
    if version is Version.V2022:
        return f"{before}personalizer/{after}", QUERY
    return f"{before}personalizer/{version.value}/{after}", {}


def missing(method: str, path: str, query: dict[str, str] | None = None) -> bool:
    """Whether there is no such operation."""
    with pytest.raises(ApiError) as caught:
        find(method, path, query or {})
    if (caught.value.code, caught.value.status) == ("BadRequest", 400):
        return False
    assert (caught.value.code, caught.value.status) == ("ResourceNotFound", 404)
    assert caught.value.message == f"There is no operation {method} {path[:256]}."
    return True


EVERY = [(route, version) for route in PERSONALIZER for version in route.versions] + [(r, None) for r in RANKLOOP]
ABSENT = [(route, version) for route in PERSONALIZER for version in ALL if version not in route.versions]


def named(of: object) -> str:
    return f"{of.method} {of.path}" if isinstance(of, Route) else str(of)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("route", "version"), EVERY, ids=named)
def test_a_route_is_found_in_each_version_that_has_it(route: Route, version: Version | None, loop: str) -> None:
    path, query = address(route, version, loop)

    found = find(route.method, path, query)

    assert found == Found(loop, version or Version.V2022, route, "e1" if HOLE.search(route.path) else "")


@pytest.mark.parametrize(("route", "version"), ABSENT, ids=named)
def test_a_route_is_not_found_in_a_version_that_has_it_not(route: Route, version: Version) -> None:
    path, query = address(route, version)

    assert missing(route.method, path, query)


@pytest.mark.parametrize(("route", "version"), EVERY, ids=named)
@pytest.mark.parametrize("spelled", [str.upper, str.title, str.swapcase])
def test_the_known_segments_are_taken_in_any_case(
    route: Route, version: Version | None, spelled: Callable[[str], str]
) -> None:
    path, query = address(route, version)

    found = find(route.method, spelled(path), query)

    assert (found.route, found.version) == (route, version or Version.V2022)
    assert found.id == (spelled(path).split("/")[path.split("/").index("e1")] if HOLE.search(route.path) else "")


def test_a_loops_name_is_taken_as_it_is_spelled() -> None:
    assert find("POST", "LOOPS/News/Personalizer/V1.0/Rank", {}).loop == "News"


@pytest.mark.parametrize(("route", "version"), EVERY, ids=named)
def test_a_slash_at_the_end_is_passed_over_unless_an_id_ends_there(route: Route, version: Version | None) -> None:
    path, query = address(route, version)

    found = find(route.method, path + "/", query)

    assert found.route is route
    assert found.id == {True: "e1/", False: "e1"}.get(route.path.endswith("}"), "") or not HOLE.search(route.path)


def test_no_two_routes_share_a_method_and_a_path() -> None:
    for version in ALL:
        held = [(route.method, route.path.lower()) for route in PERSONALIZER if version in route.versions]
        assert len(set(held)) == len(held)
    assert len({(route.method, route.path) for route in RANKLOOP}) == len(RANKLOOP)


def test_every_route_asks_for_one_role() -> None:
    for route in (*PERSONALIZER, *RANKLOOP):
        assert route.role in (Role.CALL, Role.READ, Role.MANAGE, Role.OWNER)


READS = {"GET": Role.READ, "HEAD": Role.READ}


@pytest.mark.parametrize("route", [*PERSONALIZER, *RANKLOOP], ids=named)
def test_what_only_reads_asks_for_the_reader_and_what_changes_does_not(route: Route) -> None:
    if route.role is not Role.OWNER:
        assert (route.method in READS) == (route.role is Role.READ)


@pytest.mark.parametrize("ident", IDS)
@pytest.mark.parametrize(
    "template",
    [
        "personalizer/v1.0/events/{}/reward",
        "personalizer/v1.0/events/{}/activate",
        "personalizer/v1.1-preview.1/multislot/events/{}/reward",
        "personalizer/events/{}/Reward/",
        "personalizer/multislot/events/{}/ACTIVATE",
        "loops/news/personalizer/events/{}/reward",
    ],
)
def test_an_id_before_a_suffix_is_all_between_the_known_segments(template: str, ident: str) -> None:
    assert find("POST", template.format(ident), QUERY).id == ident


@pytest.mark.parametrize("ident", [*IDS, "reward", "a/reward", "a/activate", "events/a", "a/", "/", ""])
def test_an_id_may_hold_what_the_path_is_made_of(ident: str) -> None:
    found = find("POST", f"personalizer/v1.0/events/{ident}/reward", {})

    assert (found.route.path, found.id) == ("events/{eventId}/reward", ident)


@pytest.mark.parametrize("ident", [*IDS, "a/", "a/reward"])
@pytest.mark.parametrize(
    ("method", "template"),
    [
        ("GET", "personalizer/v1.0/evaluations/{}"),
        ("DELETE", "personalizer/v1.1-preview.3/evaluations/{}"),
        ("PUT", "personalizer/evaluations/{}"),
        ("PUT", "personalizer/featureImportances/{}"),
        ("DELETE", "rankloop/v1/loops/{}"),
        ("POST", "loops/news/rankloop/v1/keys/{}"),
    ],
)
def test_an_id_at_the_end_is_all_behind_the_known_segments(method: str, template: str, ident: str) -> None:
    assert find(method, template.format(ident), QUERY).id == ident


# Letters whose lower case is longer or shorter than they are.
@pytest.mark.parametrize("ident", ["İstanbul", "İİİİ", "ẞ", "\u212a", "ǰ"])
def test_an_id_keeps_its_letters_whatever_their_lower_case_is(ident: str) -> None:
    assert find("POST", f"personalizer/v1.0/events/{ident}/reward", {}).id == ident
    assert find("POST", f"personalizer/v1.0/events/{ident}/reward/", {}).id == ident
    assert missing("POST", f"personalizer/v1.0/events/{ident}/rewardX")


@given(ident=st.text(min_size=1), loop=st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True), last=st.sampled_from(["", "/"]))
def test_any_event_id_arrives_as_it_was_sent(ident: str, loop: str, last: str) -> None:
    found = find("POST", f"loops/{loop}/personalizer/events/{ident}/activate{last}", QUERY)

    assert (found.loop, found.id, found.route.path) == (loop, ident, "events/{eventId}/activate")


@given(method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", ""]), path=st.text(), query=st.text())
def test_any_path_is_found_or_refused(method: str, path: str, query: str) -> None:
    for root in ("", "personalizer/", "personalizer/v1.0/", "loops/x/personalizer/", "rankloop/v1/", "loops/"):
        try:
            assert find(method, root + path, {"api-version": query}).route.method == method
        except ApiError as e:
            assert e.status in (400, 404)


LATEST = [(route, address(route, Version.V2022)[0]) for route in PERSONALIZER if Version.V2022 in route.versions]


@pytest.mark.parametrize(("route", "path"), LATEST, ids=named)
@pytest.mark.parametrize(
    ("given_", "told"),
    [
        (None, "it is missing"),
        ("", "it is ''"),
        ("v1.0", "it is 'v1.0'"),
        ("2022-09-01", "it is '2022-09-01'"),
        ("2022-09-01-Preview", "it is '2022-09-01-Preview'"),
        ("x" * 1000, "x'."),
    ],
)
def test_the_query_must_name_the_version(route: Route, path: str, given_: str | None, told: str) -> None:
    for loop in ("", "loops/news/"):
        with pytest.raises(ApiError) as caught:
            find(route.method, loop + path, {} if given_ is None else {"api-version": given_})

        error = caught.value
        assert (error.code, error.status, error.target) == ("BadRequest", 400, "api-version")
        assert told in error.message
        assert error.message.startswith("The query's api-version must be 2022-09-01-preview;")
        assert len(error.message) < 200


def test_only_an_operation_that_exists_asks_for_its_version() -> None:
    assert missing("GET", "personalizer/rank")
    assert missing("POST", "personalizer/nowhere")
    assert missing("POST", "personalizer/evaluations")  # gone since the version stands in the query
    assert not missing("POST", "personalizer/rank")


@pytest.mark.parametrize("query", [{}, {"api-version": "nonsense"}, QUERY])
def test_a_version_in_the_path_needs_none_in_the_query(query: dict[str, str]) -> None:
    assert find("POST", "personalizer/v1.1-preview.3/rank", query).version is Version.V1_1_P3
    assert find("GET", "rankloop/v1/health", query).version is Version.V2022


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "personalizer/v1.0/rank"),
        ("PUT", "personalizer/v1.0/rank"),
        ("post", "personalizer/v1.0/rank"),
        ("PATCH", "personalizer/v1.0/configurations/service"),
        ("GET", "personalizer/v1.0/events/e1/reward"),
        ("DELETE", "personalizer/v1.0/configurations/service"),
        ("HEAD", "personalizer/v1.0/model/properties"),
        ("POST", "rankloop/v1/health"),
        ("DELETE", "rankloop/v1/loops"),
        ("POST", "personalizer/v2.0/rank"),
        ("POST", "personalizer/v1.1/rank"),
        ("POST", "personalizer/v1.1-preview/rank"),
        ("POST", "personalizer/v1.1-preview.4/rank"),
        ("POST", "personalizer/2022-09-01-preview/rank"),
        ("POST", "personalizer/v1.0/v1.0/rank"),
        ("POST", "personalizer/v1.0/multislot/rank"),
        ("POST", "personalizer/multislot/v1.1-preview.3/rank"),
        ("POST", "rankloop/v1.0/rank"),
        ("GET", "rankloop/health"),
        ("GET", "rankloop/v2/health"),
        ("GET", "rankloop/v1/v1/health"),
        ("POST", "rank"),
        ("POST", ""),
        ("POST", "/"),
        ("POST", "/personalizer/v1.0/rank"),
        ("POST", "personalizer"),
        ("POST", "personalizer/"),
        ("POST", "personalizer/v1.0"),
        ("POST", "personalizer/v1.0/"),
        ("POST", "personalizer//rank"),
        ("POST", "personalizer//v1.0/rank"),
        ("POST", "personalizer/v1.0//rank"),
        ("POST", "personalizer/v1.0/rank/x"),
        ("POST", "personalizer/v1.0/rank%2F"),
        ("POST", "personalizer/v1.0/events"),
        ("POST", "personalizer/v1.0/events/"),
        ("POST", "personalizer/v1.0/events/reward"),
        ("POST", "personalizer/v1.0/events/e1"),
        ("POST", "personalizer/v1.0/events/e1/rewards"),
        ("POST", "personalizer/v1.0/events/e1/reward//"),
        ("POST", "personalizer/v1.0/events/e1/reward/x"),
        ("POST", "personalizer/v1.0/xevents/e1/reward"),
        ("GET", "personalizer/v1.0/evaluationsx"),
        ("GET", "personalizer/v1.0/../../rankloop/v1/loops"),
        ("POST", "loops"),
        ("POST", "loops/"),
        ("POST", "loops/x"),
        ("POST", "loops/x/"),
        ("POST", "loops/x/personalizer"),
        ("POST", "loops/x/rank"),
        ("POST", "loops//x/personalizer/v1.0/rank"),
        ("POST", "loops/x//personalizer/v1.0/rank"),
        ("POST", "loops/x/y/personalizer/v1.0/rank"),
        ("POST", "loops/x/loops/y/personalizer/v1.0/rank"),
        ("POST", "loopsx/personalizer/v1.0/rank"),
        ("POST", "personalizer/loops/x/v1.0/rank"),
    ],
)
def test_anything_else_is_not_found(method: str, path: str) -> None:
    assert missing(method, path, QUERY)


def test_a_loop_without_a_name_is_no_loop_of_ours() -> None:
    assert find("POST", "loops//personalizer/v1.0/rank", {}).loop == ""


def test_the_answer_does_not_repeat_a_path_without_end() -> None:
    with pytest.raises(ApiError) as caught:
        find("GET", "x" * 10_000, {})

    assert len(caught.value.message) < 300
