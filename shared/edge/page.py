"""Turns the path of the page, or of one of its files, into the answer that holds it.

What is served is listed here, so that no path from outside ever names a file. None of it is secret: the page is empty
until it has a key, and then shows what the API gives (docs/adr/0041).
"""

from __future__ import annotations

import gzip
import hashlib
import html
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from shared.access.discovery import check_authority, check_tenant
from shared.config import Config
from shared.contract.errors import ApiError
from shared.edge.bundle import bundle
from shared.edge.calls import Reply

_FOLDER = Path(__file__).resolve().parents[2] / "ui_fn" / "static"
_PAGE = re.compile(r"(loops/[^/]+/?)?")
_FILES = "page/"

INDEX = "index.html"
FILES: Final[Mapping[str, tuple[str, ...]]] = {
    INDEX: (INDEX,),
    # Joined, so that the first view takes few requests.
    "page.css": ("vendor/pico-2.1.1.css", "vendor/uplot-1.6.32.css", "page.css"),
    "preact.js": ("vendor/htm-preact-3.1.1.js",),
    "parts.js": ("vendor/uplot-1.6.32.js", "parts.js", "charts.js", "panning.js", "stats.js"),
    **{name: (name,) for name in ("page.js", "core.js", "entra.js")},
    "views/now.js": ("views/now-read.js", "views/now.js"),
    "views/features.js": ("views/features-read.js", "views/features-importance.js", "views/features.js"),
    **{
        f"views/{name}.js": (f"views/{name}.js",)
        for name in (
            *("setup", "evaluations", "models", "events", "try"),
            *(f"setup-{part}" for part in ("clear", "form", "holdback", "jobs", "keys", "limits", "loops", "mode")),
            *(f"setup-{part}" for part in ("options", "policy", "rules", "service")),
        )
    },
    **{
        f"views/evaluations-{part}.js": (f"views/evaluations-{part}.js",)
        for part in ("apply", "comparison", "course", "history", "list", "report", "start", "weighed", "words")
    },
    **{
        f"views/models-{part}.js": (f"views/models-{part}.js",)
        for part in ("files", "imports", "renewal", "version", "words")
    },
    **{f"views/events-{part}.js": (f"views/events-{part}.js",) for part in ("draw", "erasure", "story", "why")},
    **{
        f"views/try-{part}.js": (f"views/try-{part}.js",)
        for part in ("call", "learn", "literals", "run", "scenarios", "snippets", "waits")
    },
}
"""The files that are made of which others, by the name below `page/`."""
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_HEADERS: Final = {
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
    "vary": "Accept-Encoding",
}
_HEAD_END = b"</head>"


class SignIn(NamedTuple):
    """Where people sign in to the page, besides with a key.

    Attributes:
        authority: the address of the Entra cloud.
        tenant: whose people they are.
        client: the id of the page's registration.
        scope: what it asks for.
    """

    authority: str
    tenant: str
    client: str
    scope: str


class _File(NamedTuple):
    type: str
    plain: bytes
    packed: bytes
    tag: str


def sign_in(settings: Config) -> SignIn | None:
    """Where people sign in to the page of a deployment; None where a key is the only way.

    Raises:
        ConfigError: tenant or authority is not one.
    """
    if not settings.entra_client:
        return None
    authority, tenant = check_authority(settings.entra_authority), check_tenant(settings.entra_tenant)
    return SignIn(authority, tenant, settings.entra_client, settings.entra_scope)


def has(path: str) -> bool:
    """Whether a path below the host, decoded and without a leading slash, is the page's or a file's of it."""
    return path.startswith(_FILES) or _PAGE.fullmatch(path) is not None


def reply(path: str, headers: Mapping[str, str], entra: SignIn | None = None) -> Reply:
    """GET or HEAD of the page, or of one of its files.

    Args:
        path: one that `has` knows.
        headers: of the call, by lower-case name.
        entra: where people may sign in, which the page is told.

    Raises:
        ApiError: ResourceNotFound, for a file that the page does not have.
    """
    name = path[len(_FILES) :] if path.startswith(_FILES) else INDEX
    if name not in FILES:
        raise ApiError("ResourceNotFound", f"The page has no file {name[:256]!r}.")
    return _answer(_read(name, entra if name == INDEX else None), headers, _policy(entra))


def _policy(entra: SignIn | None) -> str:
    """What the page may load, and whom it may call: nothing but this deployment, and whoever gives it tokens."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            f"connect-src 'self' {entra.authority}" if entra else "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _answer(file: _File, headers: Mapping[str, str], policy: str) -> Reply:
    packed = "gzip" in headers.get("accept-encoding", "").lower()
    tag = f'"{file.tag}{"-gzip" if packed else ""}"'
    answered = {**_HEADERS, "content-security-policy": policy, "etag": tag}
    if tag in headers.get("if-none-match", ""):
        return Reply(304, headers=answered)
    if packed:
        answered["content-encoding"] = "gzip"
    return Reply(200, file.packed if packed else file.plain, answered, file.type)


@cache
def _read(name: str, entra: SignIn | None) -> _File:
    """A file as it is sent: read and packed once a process."""
    parts = [(_FOLDER / part).read_bytes() for part in FILES[name]]
    plain = bundle(parts, f"/{_FILES}{name}") if len(parts) > 1 and name.endswith(".js") else b"".join(parts)
    if entra is not None:
        told = " ".join(f'data-{key}="{html.escape(value)}"' for key, value in entra._asdict().items())
        plain = plain.replace(_HEAD_END, f'  <meta name="entra" {told} />\n  '.encode() + _HEAD_END)
    kind = f"{_TYPES[Path(name).suffix]}; charset=utf-8"
    return _File(kind, plain, gzip.compress(plain, 9, mtime=0), hashlib.sha256(plain).hexdigest()[:32])
