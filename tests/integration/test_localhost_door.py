"""The local host's door: what the app does not take is answered unread, and each place that was taken is given back."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.integration.sample_app import write_app
from tests.integration.served import DEADLINE, Served, wait_until

DOOR = """
    import asyncio, json
    import azure.functions as func

    app = func.FunctionApp(http_auth_level="ANONYMOUS")
    away = func.HttpResponse("go away", status_code=503, headers={"Retry-After": "1"})
    asked, held = [], []

    def admit(path, size):
        asked.append([path, size])
        if "unasked" in path:
            raise RuntimeError("nobody is at the door")
        if "away" in path:
            return away
        held.append(path)
        return lambda: held.remove(path)

    @app.route(route="told")
    async def told(req: func.HttpRequest) -> str:
        answer = json.dumps({"asked": asked, "held": held})
        asked.clear()
        return answer

    @app.route(route="echo/{*path}")
    async def echo(req: func.HttpRequest) -> str:
        return "echo " + req.get_body().decode()

    @app.route(route="slow/{*path}")
    async def slow(req: func.HttpRequest) -> str:
        await asyncio.sleep(0.1)
        return "slow"

    @app.route(route="boom/{*path}")
    async def boom(req: func.HttpRequest) -> str:
        raise RuntimeError("the reason")
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = {"Host": {"CORS": "http://page.example"}}
    directory = write_app(tmp_path_factory.mktemp("door"), DOOR, prefix="api", settings=settings)
    with Served(directory) as running:
        yield running


def told(served: Served) -> tuple[list[tuple[str, int | None]], list[str]]:
    """What was asked since this was last called, and what is held."""
    found = json.loads(served.get("/api/told").body)
    return [(path, size) for path, size in found["asked"] if path != "told"], [p for p in found["held"] if p != "told"]


class Line:
    """One connection, byte by byte."""

    def __init__(self, served: Served) -> None:
        self._socket = socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, method: str, path: str, body: bytes = b"", *headers: str, version: str = "1.1") -> None:
        lines = [f"{method} {path} HTTP/{version}", "Host: h", f"Content-Length: {len(body)}", *headers, "", ""]
        self._socket.sendall("\r\n".join(lines).encode() + body)

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self, with_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip().decode():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return status, headers, self._file.read(int(headers["content-length"])) if with_body else b""

    def ended(self) -> bool:
        return self._file.read(1) == b""


def test_an_address_that_is_too_long_keeps_no_place(served: Served) -> None:
    told(served)
    for _ in range(3):
        with Line(served) as line:
            line.send("POST", "/api/echo/x?" + 70_000 * "x", b"body")
            assert line.answer()[0] == 400

    assert told(served)[1] == []


def test_what_is_not_taken_is_answered_and_the_connection_goes_on(served: Served) -> None:
    told(served)
    with Line(served) as line:
        for _ in range(3):
            line.send("POST", "/api/echo/away?x=1", b"body")
            assert line.answer() == (
                503,
                {"retry-after": "1", "content-type": "text/plain; charset=utf-8", "content-length": "7"},
                b"go away",
            )
            line.send("POST", "/api/echo/x", b"body")
            assert line.answer()[::2] == (200, b"echo body")

    asked, held = told(served)
    assert asked == 3 * [("echo/away", 4), ("echo/x", 4)]
    assert held == []


def test_a_body_that_comes_later_is_passed_over(served: Served) -> None:
    with Line(served) as line:
        line.write(b"POST /api/echo/away HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        assert line.answer()[0] == 503
        line.write(b"x" * 99_999)
        line.write(b"x")
        line.send("POST", "/api/echo/x", b"next")
        assert line.answer()[::2] == (200, b"echo next")


def test_a_body_without_a_length_is_of_unknown_size(served: Served) -> None:
    told(served)
    with Line(served) as line:
        line.write(b"POST /api/echo/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert line.answer()[::2] == (200, b"echo abc")
        line.write(b"GET /api/echo/y HTTP/1.1\r\nHost: h\r\n\r\n")
        assert line.answer()[0] == 200

    assert told(served)[0] == [("echo/x", None), ("echo/y", 0)]


def test_requests_sent_ahead_are_answered_in_their_order(served: Served) -> None:
    told(served)
    with Line(served) as line:
        paths = ["slow/1", "echo/away", "slow/2", *(f"echo/away{n}" for n in range(200)), "echo/last"]
        for path in paths:
            line.send("POST", f"/api/{path}", b"b")
        answers = [line.answer()[0] for _ in paths]

    assert answers == [503 if "away" in path else 200 for path in paths]
    asked, held = told(served)
    assert [path for path, _ in asked] == paths
    assert held == []


@pytest.mark.parametrize("path", ["/api/echo/away", "/api/echo/away%20x"])
def test_head_has_no_body(served: Served, path: str) -> None:
    with Line(served) as line:
        line.send("HEAD", path)
        assert line.answer(with_body=False)[0] == 503
        line.send("GET", "/api/echo/x")
        assert line.answer()[0] == 200


def test_an_encoded_path_is_asked_for_decoded(served: Served) -> None:
    told(served)
    with Line(served) as line:
        line.send("GET", "/api/echo/%61way/%C3%A9")
        assert line.answer()[0] == 503
        line.send("GET", "http://h/api/echo/away")
        assert line.answer()[0] == 503

    assert told(served)[0] == [("echo/away/é", 0), ("echo/away", 0)]


@pytest.mark.parametrize("path", ["/api/echo/x", "/api/echo/away"])
def test_a_connection_that_is_to_be_closed_is_closed(served: Served, path: str) -> None:
    for headers, version in ((["Connection: close"], "1.1"), ([], "1.0")):
        with Line(served) as line:
            line.send("GET", path, b"", *headers, version=version)
            assert line.answer()[0] in (200, 503)
            assert line.ended()


def test_a_page_may_read_why_it_was_turned_away(served: Served) -> None:
    for path in ("/api/echo/away", "/api/echo/%61way"):
        answer = served.get(path, {"Origin": "http://page.example"})
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (503, "http://page.example")
    assert served.get("/api/echo/away").headers["Access-Control-Allow-Origin"] is None


def test_a_place_is_given_back_whatever_happens(served: Served) -> None:
    assert served.get("/api/boom/x").status == 500
    assert served.get("/api/nowhere").status == 404
    assert served.get("/api/echo/%00").status == 400
    assert told(served)[1] == []

    line = Line(served)
    line.write(b"POST /api/echo/half HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf of it")
    wait_until(lambda: told(served)[1] == ["echo/half"], "the request was never asked for")
    line.__exit__()
    wait_until(lambda: told(served)[1] == [], "the place was not given back")


def test_where_nobody_can_be_asked_the_request_is_served(served: Served) -> None:
    assert served.get("/api/echo/unasked").status == 200
    assert "nobody could be asked whether to take GET /api/echo/unasked" in served.errors
