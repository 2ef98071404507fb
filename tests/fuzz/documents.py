"""Makes hostile requests to any route from a seed and a number: the same two, the same request."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from shared.contract.versions import IN_PATH, Version
from shared.edge import configurations, events, loops, models, openapi
from shared.edge.calls import Operation
from shared.edge.routes import PERSONALIZER, RANKLOOP, Route
from shared.loops.policy import Problem
from tests.fuzz import bombs
from tests.fuzz.policies import ARGUMENTS, POLICIES
from tests.unit.ranking import hostile

KEY = "the key of the fuzz tests"
ROUTES: tuple[tuple[Route, Version | None], ...] = (
    *((route, version) for route in PERSONALIZER for version in route.versions),
    *((route, None) for route in RANKLOOP),
)
"""Every route of every version; Rankloop's own have none."""
RANKS = (events.rank, events.rank_slots)
_SPELLED = {version: text for text, version in IN_PATH.items()}
_SINGLE = [name for name, held in POLICIES.items() if held.problem is Problem.SINGLE_SLOT]
_SLOTS = [name for name in POLICIES if name not in _SINGLE]
_ODD_TEXT = (
    "", " ", "/", "//", "..", "../..", "a/b", "a%2Fb", "%", "%00", "\0", "\n", "\r\nx: y", "é", "中", "🎉", "\ud800",
    "\x7f", "\x80", "\u2028", "'", '"', "\\", "{}", "?", "#", "x" * 256, "x" * 257, "é" * 256, "x" * 10_000, "null",
    "default", "key1", "key2", "..%2f..", "reward", "a/reward", "reward/reward", "/reward", "activate",
)  # fmt: skip
_NUMBERS = ("0", "1", "-1", "1.5", "2147483647", "2147483648", "9" * 400, "1e3", "NaN", "", " 1", "٣", "0x1")
_TIMES = ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00", "2026-01-01", "0001-01-01T00:00:00Z",
          "9999-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "P1D", "",
          "2026-01-01T00:00:00+99:99")  # fmt: skip
_QUERY = {
    "top": _NUMBERS, "skip": _NUMBERS, "maxpagesize": _NUMBERS, "intervalInMinutes": _NUMBERS,
    "filter": ("metadata=evaluationType eq 'Manual'", "metadata=evaluationType eq 'x'", "evaluationType", "'" * 3000),
    "signed": ("true", "false", "TRUE", "1", ""), "startTime": _TIMES, "endTime": _TIMES,
}  # fmt: skip


@dataclass(frozen=True)
class Document:
    """A request.

    Attributes:
        kind: how it was made.
        route, version: what it is meant for, which its path need not name any more.
        path: below the host, decoded, without a leading slash.
        headers: by lower-case name.
    """

    kind: str
    route: Route
    version: Version | None
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def label(self) -> str:
        """The route, for a table."""
        version = "rankloop" if self.version is None else self.version.value
        return f"{self.route.method} {version} {self.route.path}"

    def described(self) -> str:
        """The request for a file, with its body as Latin-1: a character a byte."""
        shown = {"kind": self.kind, "route": self.label, "method": self.method, "path": self.path}
        return json.dumps({**shown, "query": self.query, "headers": self.headers, "body": self.body.decode("latin-1")})

    @classmethod
    def read(cls, text: str) -> Document:
        """The request that `described` wrote."""
        held = json.loads(text)
        route, version = next(one for one in ROUTES if cls("", *one, "", "").label == held["route"])
        body = held["body"].encode("latin-1")
        return cls(held["kind"], route, version, held["method"], held["path"], held["query"], held["headers"], body)


def document(seed: int, number: int) -> Document:
    """The request of a number."""
    r = random.Random(f"{seed}/{number}")
    kind = r.random()
    if kind < 0.02:
        name = r.choice(list(POLICIES))
        return _rank(r, "interactions", bombs.interactions(r, POLICIES[name]), name)
    if kind < 0.025:
        name = r.choice(("pairs", "linear", "many", "slots", "slotslinear", "slotsmany"))
        return _rank(r, "size", bombs.size(r, name in _SLOTS), name)
    if kind < 0.4:
        return _rank(r, "rank", hostile.body(r.getrandbits(48)))
    # Each route in its turn, so that every one is called as often.
    route, version = ROUTES[number % len(ROUTES)]
    if kind < 0.65:
        body = _body(r, route, version)
        return _call(r, "odd body", route, version, hostile.mutated(r, body) if r.random() < 0.3 else body)
    if kind < 0.8:
        body = b"" if route.body in (None, bytes) else json.dumps(_valid(route, version)).encode()
        return _call(r, "odd call", route, version, body, oddity=0.5)
    if kind < 0.9:
        return _call(r, "odd all over", route, version, _body(r, route, version), oddity=0.4)
    if kind < 0.97:
        return _call(r, "json", route, version, hostile.spelled(r, hostile.anything(r, 0, 1.0)))
    return _call(r, "noise", route, version, r.randbytes(r.choice((0, 1, 10, 40, 1000))))


def _rank(r: random.Random, kind: str, body: bytes, loop: str = "") -> Document:
    name = loop or r.choice(_SLOTS if b'"slots"' in body else _SINGLE)
    wanted = RANKS[name in _SLOTS]
    route, version = r.choice([one for one in ROUTES if one[0].operation is wanted])
    return _call(r, kind, route, version, body, loop=name)


def _call(
    r: random.Random, kind: str, route: Route, version: Version | None, body: bytes, oddity: float = 0.0, loop: str = ""
) -> Document:
    """A call of a route, of which each part may be odd, so often."""
    before, hole, after = route.path.partition("{")
    path = before
    if hole:
        path += _id(r, route, oddity) + after.partition("}")[2]
    query = {}
    if version is None:
        path = f"rankloop/v1/{path}"
    elif version is Version.V2022:
        path = f"personalizer/{path}"
        query["api-version"] = version.value
    else:
        path = f"personalizer/{_SPELLED[version]}/{path}"
    name = loop or _loop(r, route, oddity)
    path = f"loops/{name}/{path}" if name else path
    method = route.method
    if r.random() < oddity / 4:
        method = r.choice(
            ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "get", "", "X" * 100, "é")
        )
    if r.random() < oddity / 3:
        path = _changed(r, path)
    return Document(kind, route, version, method, path, _query(r, query, oddity), _headers(r, oddity), body)


def _loop(r: random.Random, route: Route, oddity: float) -> str:
    if r.random() < oddity / 3:
        return r.choice(_ODD_TEXT)
    if "multislot" in route.path:
        return r.choice(_SLOTS)
    if route.operation in (events.rank, events.reward, events.activate) or route.path == "events/{eventId}":
        return r.choice(_SINGLE)
    if route.operation is models.get_model and r.random() < 0.2:
        return "linear"
    return r.choice(("", "scratch"))  # the others keep their policies


def _id(r: random.Random, route: Route, oddity: float) -> str:
    if r.random() < max(oddity, 0.2):
        return r.choice(_ODD_TEXT) if r.random() < 0.7 else r.choice(_ODD_TEXT) + r.choice(_ODD_TEXT)
    usual: dict[Operation, str] = {loops.delete_loop: "news", loops.replace_key: r.choice(("key1", "key2"))}
    return usual.get(
        route.operation, r.choice(("id", "sunny", "mobile")) + str(r.randrange(20))
    )  # as ranks name events


def _changed(r: random.Random, path: str) -> str:
    at = r.randrange(len(path) + 1)
    if r.random() < 0.5:
        return path[:at] + r.choice(_ODD_TEXT) + path[at:]
    return r.choice(
        (
            path[:at],
            path.upper(),
            path + "/",
            "/" + path,
            path.replace("/", "//"),
            quote(path, errors="replace"),
            path * 2,
            "",
        )
    )


def _query(r: random.Random, query: dict[str, str], oddity: float) -> dict[str, str]:
    if r.random() < max(oddity, 0.2):
        for name in r.sample(list(_QUERY), r.randrange(1, 4)):
            query[name] = r.choice(_QUERY[name])
    if r.random() < oddity / 2:
        query[r.choice(("api-version", "api-version", "filter", *_ODD_TEXT))] = r.choice((*_ODD_TEXT, "x" * 16_000))
    if r.random() < oddity / 10:
        query |= {f"q{n}": "x" for n in range(1000)}
    return query


def _headers(r: random.Random, oddity: float) -> dict[str, str]:
    headers = {"ocp-apim-subscription-key": KEY}
    if r.random() < 0.2 + oddity:
        headers["x-ms-client-request-id"] = r.choice((f"{r.getrandbits(64):x}", *_ODD_TEXT))
        headers["x-ms-return-client-request-id"] = r.choice(("true", "True", "false", ""))
    if r.random() < 0.1:
        headers["x-rankloop-subject"] = r.choice(("s1", "s2", *_ODD_TEXT))
    if r.random() < oddity / 2:
        headers["ocp-apim-subscription-key"] = r.choice(("", "wrong", *_ODD_TEXT))
    if r.random() < oddity / 3:
        del headers["ocp-apim-subscription-key"]
        headers["authorization"] = r.choice(("Bearer ", "bearer", "Basic x", "Bearer ")) + _token(r)
    if r.random() < oddity / 5:
        headers["apim-subscription-id"] = r.choice((KEY, *_ODD_TEXT))
    if r.random() < oddity / 2:
        name = r.choice(("content-type", "if-none-match", "accept", "content-length", "transfer-encoding", "host"))
        headers[name] = r.choice(("application/json", "*", "chunked", "-1", "9" * 30, *_ODD_TEXT))
    if r.random() < oddity / 10:
        headers |= {f"x-{n}": "y" * 100 for n in range(200)}
    return headers


def _token(r: random.Random) -> str:
    parts = ["eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ", "eyJhbGciOiJub25lIn0", "eyJhbGciOjF9", "W10", "e30", "bnVsbA",
             "é", "x" * 20_000, "", "====", "eyJhbGciOiJSUzI1NiIsImtpZCI6MX0",
             "eyJhbGciOiJSUzI1NiIsImtpZCI6IiJ9"]  # fmt: skip
    return ".".join(r.choice(parts) for _ in range(r.choice((1, 2, 3, 3, 3, 4, 300))))


def _valid(route: Route, version: Version | None) -> Any:
    """The body of a call that succeeds, as far as one is described."""
    example = openapi.described(route).example
    if isinstance(example, Mapping) and version in example:
        example = example[version]
    return json.loads(json.dumps(example))


def _body(r: random.Random, route: Route, version: Version | None) -> bytes:
    if route.body is bytes:
        return _zip(r)
    if route.body is None:
        return r.choice((b"", b"", b"{}", b"x" * 100))
    value = _valid(route, version)
    if route.operation is configurations.put_policy and r.random() < 0.9:
        value["arguments"] = _arguments(r)
    for _ in range(r.choice((0, 1, 1, 2, 4))):
        value = _altered(r, value)
    return hostile.spelled(r, value)


def _altered(r: random.Random, value: Any) -> Any:
    """The value with one change somewhere in it."""
    if r.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return hostile.anything(r, 0, 0.7)
    if isinstance(value, list):
        at = r.randrange(len(value))
        change = r.randrange(4)
        if change == 0:
            return [*value, *value]
        if change == 1:
            return value[:at] + value[at + 1 :]
        return [*value[:at], _altered(r, value[at]), *value[at + 1 :]]
    name = r.choice(list(value))
    change = r.randrange(6)
    kept = {other: held for other, held in value.items() if other != name}
    if change == 0:
        return kept
    if change == 1:
        return {**kept, r.choice((name.upper(), f"_{name}", name + "\0", hostile.key(r, 1.0))): value[name]}
    if change == 2:
        return {**value, hostile.key(r, 1.0): hostile.anything(r, 0, 0.7)}
    return {**value, name: _altered(r, value[name])}


_WORDS = (
    "--cb_explore_adf", "--ccb_explore_adf", "--epsilon 0.2", "--epsilon 2", "-q ::", "-q", "--cubic FFj", "--bag 20",
    "--bag 21", "--cb_type mtr", "--cb_type x", "-l 1e99", "--power_t 0", "-b 22", "-b 40", "-f /tmp/x",
    "-i /etc/passwd",
    "--interactions ::::::", "--lambda nan", "--first 9", "--é", "\0", "--quiet", "--json", "-d x", "--l1=0.1", "--",
    "-", "--rnd 5", "--squarecb", "--softmax", "--marginal i", "--ignore i", "--hash all", "--random_seed 1",
)  # fmt: skip


def _arguments(r: random.Random) -> str:
    if r.random() < 0.5:
        return r.choice(list(ARGUMENTS.values()))
    return r.choice((" ", "  ", "\t")).join(r.choices(_WORDS, k=r.choice((0, 1, 3, 6, 3000))))


def _zip(r: random.Random) -> bytes:
    """What stands for an exported model."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", r.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name in r.sample(("model.vw", "sha512_signature.bin", "signer.der", "../x", "/etc/x", "é"), r.randrange(5)):
            archive.writestr(zipfile.ZipInfo(name), r.choice((b"", b"x" * 100, b"\0" * 100_000, r.randbytes(300))))
    data = made.getvalue()
    return hostile.mutated(r, data) if r.random() < 0.5 else data
