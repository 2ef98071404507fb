"""Turns at a lock that others hold for long: soon, or not at all."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import orjson
import pytest

from shared.contract.errors import ApiError
from shared.edge import turn as turns
from shared.edge.turn import turn
from shared.warmstart import convert
from shared.warmstart.convert import Converted, File
from tests.unit.edge.inmemory import InMemory, error

POLICY = orjson.dumps({"name": "mine", "arguments": "--cb_explore_adf --epsilon 0.3 --cb_type mtr -q Fj"})


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.0)


async def test_whoever_comes_while_it_is_free_has_it_and_lets_it_go(hurried: None) -> None:
    lock = asyncio.Lock()
    with pytest.raises(ZeroDivisionError):
        async with turn(lock):
            assert lock.locked()
            raise ZeroDivisionError
    assert not lock.locked()


async def test_whoever_waits_for_too_long_is_told_when_to_come_back(hurried: None) -> None:
    lock = asyncio.Lock()
    async with lock:
        with pytest.raises(ApiError) as refused:
            async with turn(lock):
                pass
    assert (refused.value.status, refused.value.code) == (503, "OperationNotAllowed")
    assert refused.value.retry_after == 20
    assert not lock.locked()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "rankloop/v1/imports?format=dsjson", b"{}"),
        ("PUT", "personalizer/v1.1-preview.3/model", b"a model"),
        ("PUT", "personalizer/v1.0/configurations/policy", POLICY),
    ],
    ids=["import", "model", "policy"],
)
async def test_what_would_be_tried_behind_others_is_refused_and_has_no_effect(
    served: InMemory, hurried: None, method: str, path: str, body: bytes
) -> None:
    before = await served.json("GET", "personalizer/v1.0/configurations/policy")
    async with served.app.trying:
        response = await served(method, path, body)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "20")
    assert error(response)["code"] == "OperationNotAllowed"
    assert await served.json("GET", "personalizer/v1.0/configurations/policy") == before


async def test_an_import_that_has_waited_takes_that_much_less(
    served: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    async def run(file: File, patience: float) -> Converted:
        given.append(patience)
        return Converted()

    times = iter([100.0, 112.0])
    monkeypatch.setattr("shared.edge.imports.time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(convert, "run", run)

    assert (await served("POST", "rankloop/v1/imports?format=dsjson", b"{}")).status_code == 400
    assert given == [convert.PATIENCE - 12.0]
