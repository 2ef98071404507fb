"""How many connections that were turned away are read from again, and what an answer to them costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import azure.functions as func
import pytest

from localhost import connection
from localhost.config import Config
from localhost.connection import _Parking
from localhost.host import Host
from localhost.keys import Keys
from localhost.loading import App
from localhost.response import Response


class Loop:
    """An event loop that calls later when it is told to."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_later(self, seconds: float, what: Callable[[], None]) -> None:
        assert seconds == connection._PAUSE
        self.due.append(what)

    def turn(self) -> None:
        self.due.pop()()


class Parked:
    """As much of a connection as is parked."""

    def __init__(self, closing: bool = False) -> None:
        self.reading = True
        self.flow = SimpleNamespace(pause_reading=self._pause, resume_reading=self._resume)
        self.transport = SimpleNamespace(is_closing=lambda: closing)

    def _pause(self) -> None:
        self.reading = False

    def _resume(self) -> None:
        self.reading = True


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of processor time that the thread has had."""
    at = [0.0]
    monkeypatch.setattr(connection, "time", SimpleNamespace(thread_time=lambda: at[0]))
    return at


def park(parking: _Parking, many: int, cost: float) -> list[Parked]:
    connections = [Parked() for _ in range(many)]
    for one in connections:
        parking.park(cast(Any, one), cost)
    return connections


@pytest.mark.parametrize(("cost", "turn"), [(100e-6, 0.02), (50e-6, 0.01), (400e-6, 0.02)])
def test_they_take_a_third_of_the_time_whatever_they_cost(used: list[float], cost: float, turn: float) -> None:
    loop = Loop()
    parking = _Parking(cast(asyncio.AbstractEventLoop, loop))
    connections = park(parking, 2000, cost)
    assert not any(one.reading for one in connections)

    used[0] += turn
    loop.turn()

    again = [one.reading for one in connections]
    assert sum(again) == pytest.approx(turn / 3 / cost, rel=0.1)
    assert again == sorted(again, reverse=True), "the first that came are the first"


@pytest.mark.parametrize(
    ("cost", "turn", "counted"),
    [(1e-9, 0.01, 0.01), (25e-6, 1.0, 0.02)],
    ids=["a few bytes of a body are not taken for cheap", "after a long turn they do not come all at once"],
)
def test_there_are_bounds_to_how_many_come(used: list[float], cost: float, turn: float, counted: float) -> None:
    loop = Loop()
    parking = _Parking(cast(asyncio.AbstractEventLoop, loop))
    connections = park(parking, 2000, cost)

    used[0] += turn
    loop.turn()

    assert sum(one.reading for one in connections) == pytest.approx(counted / 3 / 25e-6, rel=0.1)


def test_all_are_read_from_again_though_the_thread_has_no_time(used: list[float]) -> None:
    loop = Loop()
    parking = _Parking(cast(asyncio.AbstractEventLoop, loop))
    connections = park(parking, 35, 1.0)
    gone = Parked(closing=True)
    parking.park(cast(Any, gone), 1.0)

    turns = 0
    while loop.due:
        loop.turn()
        turns += 1

    assert all(one.reading for one in connections)
    assert not gone.reading
    assert turns == 4


def test_the_answer_is_made_once_whatever_stands_with_it(tmp_path: Path) -> None:
    """So that its bytes are made once as well."""
    turned_away = func.HttpResponse("no", status_code=503)
    config = Config(
        app_dir=tmp_path, data_dir=tmp_path, headers=((b"x-a", b"1"),), cors_origins=frozenset({"http://page"})
    )
    host = Host(App((), admit=lambda path, size: turned_away), config, Keys(False, "", ""))

    def ask(*headers: tuple[bytes, bytes]) -> Response | None:
        return host.turn_away({"method": "GET", "path": "/api/rank", "headers": list(headers)})

    answer = ask()
    assert answer is not None
    assert ask() is answer
    assert answer[0] == 503
    assert (b"x-a", b"1") in answer[1]
    told = ask((b"origin", b"http://page"))
    assert told is not None
    assert told[1][: len(answer[1])] == answer[1]
    assert (b"access-control-allow-origin", b"http://page") in told[1]
