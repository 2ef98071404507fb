import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localhost.config import StartError
from localhost.routes import Route

# A busy machine must not fail a property.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("", "/", {}),
        ("", "/x", None),
        ("items/special", "/items/special", {}),
        ("items/special", "/ITEMS/Special/", {}),
        ("items/special", "/items/special//", None),
        ("items/special", "/items//special", None),
        ("items/{id}", "/items/Ab", {"id": "Ab"}),
        ("items/{id}", "/items/", None),
        ("items/{id}", "/items/a/b", None),
        ("items/{id}", "/items/a\nb ?#", {"id": "a\nb ?#"}),
        ("items/{id}", "/items/é€🎉", {"id": "é€🎉"}),
        ("items/{event-id}", "/items/1", {"event-id": "1"}),
        ("opt/{a?}", "/opt", {}),
        ("opt/{a?}", "/opt/", {}),
        ("opt/{a?}", "/opt/1", {"a": "1"}),
        ("opt/{a?}/{b?}", "/opt/1", {"a": "1"}),
        ("opt/{a?}/{b?}", "/opt/1/2", {"a": "1", "b": "2"}),
        # Only the end of a path can be missing.
        ("{a?}/end", "/end", None),
        ("{a?}/end", "/1/end", {"a": "1"}),
        ("d/{a=x}", "/d", {"a": "x"}),
        ("d/{a=x}", "/d/y", {"a": "y"}),
        ("d/{a:int=7}", "/d", {"a": "7"}),
        ("d/{a:int=7}", "/d/x", None),
        ("files/{*path}", "/files", {}),
        ("files/{*path}", "/files/", {}),
        ("files/{*path}", "/files/a", {"path": "a"}),
        ("files/{*path}", "/files/a//b/../c/", {"path": "a//b/../c/"}),
        ("files/{*path}", "/files//a", None),
        ("files/{**path}", "/files/a/b", {"path": "a/b"}),
        ("files/{*path=index}", "/files", {"path": "index"}),
        ("m/{name}.json", "/m/x.json", {"name": "x"}),
        ("m/{name}.json", "/m/x.y.JSON", {"name": "x.y"}),
        ("m/{name}.json", "/m/.json", None),
        ("m/v{major}.{minor}", "/m/v1.2.3", {"major": "1.2", "minor": "3"}),
        ("a.b/{x}", "/aXb/1", None),
        ("{{a}}/{x}", "/{a}/1", {"x": "1"}),
        ("r/{n:int:range(1,9)}", "/r/5", {"n": "5"}),
        ("r/{n:int:range(1,9)}", "/r/10", None),
        ("r/{n:int?}", "/r", {}),
        ("r/{n:int?}", "/r/x", None),
        (r"r/{n:regex(^\d{{2}}:[[ab]]+(x|y)$)}", "/r/12:abY", {"n": "12:abY"}),
        (r"r/{n:regex(^\d{{2}}:[[ab]]+(x|y)$)}", "/r/12:abz", None),
        (r"r/{n:regex(a/b)}", "/r/a", None),
    ],
)
def test_match(template: str, path: str, expected: dict[str, str] | None) -> None:
    assert Route(template).match(path) == expected


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        ("int", ["0", "-5", "+5", "2147483647"], ["x", "1.5", "2147483648", "٣"]),
        ("long", ["9223372036854775807"], ["9223372036854775808", "1e3"]),
        ("bool", ["true", "FALSE"], ["1", "yes"]),
        ("alpha", ["abcXYZ"], ["a1", "é"]),
        ("guid", ["0f8fad5b-d9cb-469f-a165-70867728950e", "0F8FAD5BD9CB469FA16570867728950E"], ["0f8fad5b-d9cb", "x"]),
        (
            "datetime",
            ["2026-11-22", "2026-11-22T10:00:00Z", "Sun, 22 Nov 2026 10:00:00 GMT"],
            ["yesterday", "2026-13-01"],
        ),
        ("float", ["1.5", "-1e5", "1,000"], ["x", "1.2.3"]),
        ("double", [".5"], ["."]),
        ("decimal", ["1.5"], ["1e5"]),
        ("required", ["x"], []),
        ("min(3)", ["3", "99"], ["2", "x"]),
        ("max(3)", ["3", "-9"], ["4", "x"]),
        ("range(1,3)", ["1", "3"], ["0", "4"]),
        ("length(3)", ["abc"], ["ab", "abcd"]),
        ("length(2,3)", ["ab", "abc"], ["a", "abcd"]),
        ("minlength(2)", ["ab"], ["a"]),
        ("maxlength(2)", ["a", "ab"], ["abc"]),
        ("regex(^ab+$)", ["abb", "AB"], ["ac", "xab"]),
        ("regex(b)", ["abc"], ["c"]),
    ],
)
def test_constraints(constraint: str, good: list[str], bad: list[str]) -> None:
    route = Route(f"{{x:{constraint}}}")

    assert [text for text in good if route.match(f"/{text}") is None] == []
    assert [text for text in bad if route.match(f"/{text}") is not None] == []


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{", "closing"),
        ("a}", "opening"),
        ("{a{b}}", "doubled"),
        ("{}", "not a parameter"),
        ("{***a}", "not a parameter"),
        ("a//b", "two slashes"),
        ("{a}{b}", "nothing between"),
        ("{*a}/b", "catch-all"),
        ("x{*a}", "catch-all"),
        ("{a}.{b?}", "whole segment"),
        ("{a}/{A}", "twice"),
        ("{a:nonsense}", "no constraint"),
        ("{a:range(1}", "no constraint"),
        ("{a:min(x)}", "wrong"),
        ("{a:length(1,2,3)}", "wrong"),
        ("{a:regex([)}", "wrong"),
        ("{a=1?}", "optional"),
        ("{a:}", "neither"),
    ],
)
def test_refused(template: str, reason: str) -> None:
    with pytest.raises(StartError, match=reason):
        Route(template)


def test_precedence_puts_the_more_specific_first() -> None:
    templates = ["{*rest}", "{a}", "{*rest:minlength(2)}", "{a:int}", "v{a}", "a", "a/{b}", "a/b", "a/{*rest}", ""]

    ordered = sorted(templates, key=lambda template: Route(template).precedence)

    assert ordered == [
        "", "a", "a/b", "a/{b}", "a/{*rest}", "v{a}", "{a:int}", "{a}", "{*rest:minlength(2)}", "{*rest}"
    ]  # fmt: skip


@UNTIMED
@given(st.text(min_size=1).filter(lambda text: "/" not in text))
def test_a_segment_is_given_back_as_it_came(text: str) -> None:
    assert Route("events/{id}/reward").match(f"/events/{text}/reward") == {"id": text}


@UNTIMED
@given(st.text(min_size=1).filter(lambda text: not text.startswith("/")))
def test_a_catch_all_is_given_back_as_it_came(text: str) -> None:
    assert Route("events/{*rest}").match(f"/events/{text}") == {"rest": text}
