import azure.functions as func
import pytest

from localhost.response import empty, encode_result


def test_bytes_and_mimetype() -> None:
    made = func.HttpResponse(b"{}", status_code=201, mimetype="application/json", headers={"X-A": "1"})

    assert encode_result(made) == (
        201,
        [(b"x-a", b"1"), (b"content-type", b"application/json"), (b"content-length", b"2")],
        b"{}",
    )


def test_text_gets_its_charset() -> None:
    status, headers, body = encode_result(func.HttpResponse("é", charset="latin-1"))

    assert (status, body) == (200, b"\xe9")
    assert dict(headers)[b"content-type"] == b"text/plain; charset=latin-1"


def test_the_handlers_content_type_wins() -> None:
    made = func.HttpResponse("x", mimetype="text/html", headers={"Content-Type": "image/x"})

    assert [value for name, value in encode_result(made)[1] if name == b"content-type"] == [b"image/x"]


@pytest.mark.parametrize("status", [204, 205, 304])
def test_statuses_without_a_body(status: int) -> None:
    code, headers, body = encode_result(func.HttpResponse("dropped", status_code=status))

    assert (code, body) == (status, b"")
    assert b"content-length" not in dict(headers)


def test_framing_is_ours() -> None:
    made = func.HttpResponse("abc", headers={"Content-Length": "99", "Transfer-Encoding": "chunked"})

    names = [name for name, _ in encode_result(made)[1]]

    assert sorted(names) == [b"content-length", b"content-type"]
    assert dict(encode_result(made)[1])[b"content-length"] == b"3"


def test_cookies_are_repeated_and_other_headers_are_not() -> None:
    made = func.HttpResponse()
    for name in ("Set-Cookie", "X-A"):
        made.headers.add(name, "a=1")
        made.headers.add(name, "b=2")

    headers = encode_result(made)[1]

    assert [value for name, value in headers if name == b"set-cookie"] == [b"a=1", b"b=2"]
    assert [value for name, value in headers if name == b"x-a"] == [b"b=2"]


def test_a_string_is_a_plain_answer() -> None:
    assert encode_result("é") == (
        200,
        [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"2")],
        "é".encode(),
    )


@pytest.mark.parametrize("result", [None, {}, b"x", 1])
def test_other_types_are_refused(result: object) -> None:
    with pytest.raises(TypeError, match="must return an HttpResponse or a str"):
        encode_result(result)


@pytest.mark.parametrize("status", [0, 100, 600, "201"])
def test_other_statuses_are_refused(status: int) -> None:
    with pytest.raises(ValueError, match="not a status"):
        encode_result(func.HttpResponse(status_code=status))


@pytest.mark.parametrize(("name", "value"), [("x", "é"), ("x y", "1"), ("x:", "1"), ("", "1")])
def test_headers_that_http_does_not_allow_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        encode_result(func.HttpResponse(headers={name: value}))


def test_a_line_break_adds_no_header() -> None:
    made = func.HttpResponse(mimetype="text/x\r\nevil: 1")

    with pytest.raises(ValueError, match="characters"):
        encode_result(made)


def test_empty() -> None:
    assert empty(404) == (404, [(b"content-length", b"0")], b"")
    assert empty(204, (b"a", b"b")) == (204, [(b"a", b"b")], b"")
