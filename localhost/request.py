"""Turns an ASGI scope and a body into the `HttpRequest` that the Python worker would hand to a handler."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from azure.functions.http import HttpRequest

Scope = MutableMapping[str, Any]

_ENCODED_SLASH = re.compile(r"(%2[Ff])")
# What a path may hold unescaped (RFC 3986 `pchar` and the slash); `quote` leaves letters and digits alone anyway.
_PATH_SAFE = "/:@!$&'()*+,;=~-._"


class BadRequest(Exception):
    """The request breaks HTTP itself, so no function may see it."""


def read_headers(scope: Scope) -> dict[str, str]:
    """Return the headers by lower-case name, repeated ones joined by commas as the host joins them.

    Raises `BadRequest` where a value is not UTF-8.
    """
    pairs = scope["headers"]
    try:
        headers = {name.decode("ascii"): value.decode() for name, value in pairs}
        if len(headers) < len(pairs):
            headers = _joined((name.decode("ascii"), value.decode()) for name, value in pairs)
    except UnicodeDecodeError:
        raise BadRequest("a header is not valid UTF-8") from None
    return headers


def read_query(scope: Scope) -> dict[str, str]:
    """Return the query's parameters, decoded; a repeated one has its values joined by commas."""
    raw = scope["query_string"]
    return _joined(parse_qsl(raw.decode("latin-1"), keep_blank_values=True)) if raw else {}


def read_path(scope: Scope, *, decode_slash: bool) -> tuple[str, str]:
    """Return the path as routes see it (decoded) and as the request's URL shows it (encoded).

    In Azure a path arrives decoded, %2F included. `func start` decodes everything but %2F, which then stands in the
    routes' parameters as it came. Dots and repeated slashes stay as they are; the real host's web server removes `.`
    and `..` segments, so such ids do not survive there, whoever serves them. Raises `BadRequest` on a NUL.
    """
    raw: str = scope["raw_path"].decode("ascii")
    if "%" not in raw:
        return raw, quote(raw, safe=_PATH_SAFE)
    if decode_slash:
        path = _decode(raw)
        url_path = quote(path, safe=_PATH_SAFE)
    else:
        # Splitting by a group keeps what it matched, at the odd places.
        pieces = _ENCODED_SLASH.split(raw)
        decoded = [piece if index % 2 else _decode(piece) for index, piece in enumerate(pieces)]
        path = "".join(decoded)
        url_path = "".join(piece if index % 2 else quote(piece, safe=_PATH_SAFE) for index, piece in enumerate(decoded))
    if "\0" in path:
        raise BadRequest("the path holds a NUL")
    return path, url_path


def build_request(
    scope: Scope,
    url_path: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    route_params: Mapping[str, str],
    body: bytes,
) -> HttpRequest:
    """Return what a handler receives; the arguments are what the functions above return."""
    raw_query = scope["query_string"]
    address = f"{scope['scheme']}://{headers.get('host', 'localhost')}{url_path}"
    return HttpRequest(
        scope["method"],
        f"{address}?{raw_query.decode('latin-1')}" if raw_query else address,
        headers=headers,
        params=query,
        route_params=route_params,
        body_type="bytes",
        body=body,
    )


def _joined(pairs: Any) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _decode(encoded: str) -> str:
    return unquote_to_bytes(encoded).decode("utf-8", "localhost.percent")


def _keep_percent(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are no UTF-8 stay percent-encoded, as the host's web server leaves them."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"%{byte:02X}" for byte in error.object[error.start : error.end]), error.end


codecs.register_error("localhost.percent", _keep_percent)
