"""Turns what a handler returned into the status, headers and body that go over the wire."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import azure.functions as func

Response = tuple[int, list[tuple[bytes, bytes]], bytes]

_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]
# The server frames the message itself.
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive"})
# No body, nor the length of one (RFC 9110, 6.4.1).
_BODILESS = frozenset({204, 205, 304})


def encode_result(result: object) -> Response:
    """Encode the result of an HTTP function: an `HttpResponse`, or a string for a plain 200.

    The content type is the handler's header, else its mimetype with the charset where that is text. A body beside a
    status that must not have one is dropped. Raises `TypeError` for a result of any other type, as the worker does,
    and `ValueError` for a status or a header that HTTP does not allow.
    """
    if isinstance(result, func.HttpResponse):
        return _encode_response(result)
    if isinstance(result, str):
        body = result.encode()
        return 200, [*_TEXT, (b"content-length", b"%d" % len(body))], body
    raise TypeError(f"an HTTP function must return an HttpResponse or a str, not {type(result).__name__!r}")


def empty(status: int, *headers: tuple[bytes, bytes]) -> Response:
    """Return an answer without a body."""
    return status, [*headers] if status in _BODILESS else [*headers, (b"content-length", b"0")], b""


def _encode_response(response: func.HttpResponse) -> Response:
    status = response.status_code
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"{status!r} is not a status that a function may answer")
    headers: dict[bytes, bytes] = {}
    cookies: list[tuple[bytes, bytes]] = []
    for name, value in response.headers.items():
        lowered = name.lower()
        if lowered in _FRAMING:
            continue
        if lowered == "set-cookie":
            cookies.append((b"set-cookie", _value(lowered, value)))
        else:
            # The worker keeps headers by name, so the last one counts.
            headers[_name(lowered)] = _value(lowered, value)
    if b"content-type" not in headers:
        headers[b"content-type"] = _content_type(response.mimetype, response.charset)
    body: bytes = response.get_body()
    if status in _BODILESS:
        return status, [*headers.items(), *cookies], b""
    headers[b"content-length"] = b"%d" % len(body)
    return status, [*headers.items(), *cookies], body


def _value(name: str, value: Any) -> bytes:
    text = value if isinstance(value, str) else str(value)
    # Kestrel refuses to write anything else; a line break would let a value add headers of its own.
    if not (text.isascii() and text.replace("\t", " ").isprintable()):
        raise ValueError(f"the value of the header {name!r} holds characters that a header may not hold")
    return text.encode("ascii")


@lru_cache(maxsize=1024)
def _name(lowered: str) -> bytes:
    if not lowered or not lowered.isascii() or not lowered.isprintable() or set(lowered) & set(' "(),/:;<=>?@[\\]{}'):
        raise ValueError(f"{lowered!r} cannot be the name of a header")
    return lowered.encode("ascii")


@lru_cache(maxsize=256)
def _content_type(mimetype: str, charset: str) -> bytes:
    return _value("content-type", f"{mimetype}; charset={charset}" if mimetype.startswith("text/") else mimetype)
