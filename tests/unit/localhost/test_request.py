from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localhost.request import BadRequest, Scope, build_request, read_headers, read_path, read_query

# A busy machine must not fail a property.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def scope(path: str = "/", query: str = "", headers: list[tuple[bytes, bytes]] | None = None) -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers or [],
    }


@pytest.mark.parametrize(
    ("raw", "decoded", "kept"),
    [
        ("/a/b", "/a/b", "/a/b"),
        ("/ev%2F1", "/ev/1", "/ev%2F1"),
        ("/ev%2f1", "/ev/1", "/ev%2f1"),
        ("/a%2F%2e%2e%2Fb", "/a/../b", "/a%2F..%2Fb"),
        ("/a/../b//c", "/a/../b//c", "/a/../b//c"),
        ("/%252F", "/%2F", "/%2F"),
        ("/%3F%23%25%20+", "/?#% +", "/?#% +"),
        ("/%C3%A9%F0%9F%8E%89", "/é🎉", "/é🎉"),
        ("/%FF%C3", "/%FF%C3", "/%FF%C3"),
        ("/100%", "/100%", "/100%"),
        ("/%zz", "/%zz", "/%zz"),
    ],
)
def test_path(raw: str, decoded: str, kept: str) -> None:
    assert read_path(scope(raw), decode_slash=True)[0] == decoded
    assert read_path(scope(raw), decode_slash=False)[0] == kept


def test_a_nul_is_refused() -> None:
    with pytest.raises(BadRequest):
        read_path(scope("/a%00"), decode_slash=True)


@UNTIMED
@given(st.text().filter(lambda text: "\0" not in text))
def test_any_id_survives_and_the_url_is_valid_and_equal(text: str) -> None:
    raw = "/events/" + quote(text, safe="") + "/reward"

    path, url_path = read_path(scope(raw), decode_slash=True)

    assert path == f"/events/{text}/reward"
    assert unquote(url_path) == path
    assert url_path.isascii()
    assert not set(url_path) & set(' ?#"<>\\^`{|}')


@UNTIMED
@given(st.text().filter(lambda text: "\0" not in text))
def test_a_kept_slash_leaves_the_segment_whole(text: str) -> None:
    raw = "/events/" + quote(text, safe="") + "/reward"

    path, url_path = read_path(scope(raw), decode_slash=False)

    assert path == "/events/" + text.replace("/", "%2F") + "/reward"
    assert unquote(url_path) == f"/events/{text}/reward"
    assert url_path.count("/") == 3


def test_headers() -> None:
    pairs = [(b"x-a", b"1"), (b"x-b", "é".encode()), (b"x-a", b"2")]

    assert read_headers(scope(headers=pairs)) == {"x-a": "1,2", "x-b": "é"}


def test_headers_that_are_no_text() -> None:
    with pytest.raises(BadRequest):
        read_headers(scope(headers=[(b"x-a", b"\xff")]))


def test_query() -> None:
    assert read_query(scope(query="a=1&b=%C3%A9+x&a=2&empty=&flag")) == {
        "a": "1,2",
        "b": "é x",
        "empty": "",
        "flag": "",
    }


def test_request() -> None:
    made = build_request(scope("/a", "q=%20"), "/a", {"host": "h:1", "x-y": "z"}, {"q": " "}, {"id": "7"}, b'{"a": 1}')

    assert (made.method, made.url, made.headers["X-Y"]) == ("POST", "http://h:1/a?q=%20", "z")
    assert (dict(made.params), dict(made.route_params)) == ({"q": " "}, {"id": "7"})
    assert (made.get_body(), made.get_json()) == (b'{"a": 1}', {"a": 1})


def test_request_without_host_and_query() -> None:
    assert build_request(scope("/a"), "/a", {}, {}, {}, b"").url == "http://localhost/a"
