"""A file becomes the lines to learn, and an account of the rest."""

from __future__ import annotations

import gzip
import io
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from shared.child import ChildError
from shared.contract.errors import ApiError
from shared.log import imports
from shared.log.rows import decompress
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.warmstart import convert as converting
from shared.warmstart.convert import Converted, File, convert
from tests.unit.warmstart.test_dsjson import LINE

TEXT = b"\n".join(
    [
        orjson.dumps({**LINE, "EventId": "second", "Timestamp": "2026-01-01T00:00:02Z"}),
        b"",
        orjson.dumps({**LINE, "_skipLearn": True}),
        b"what?",
        orjson.dumps({**LINE, "EventId": None, "Timestamp": None}),
        orjson.dumps({**LINE, "EventId": "first", "Timestamp": "2026-01-01T00:00:01Z"}),
    ]
)


def converted(data: bytes, kind: Literal["dsjson", "csv", "parquet"] = "dsjson", most_actions: int = 50) -> Converted:
    arguments = DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]
    return convert(File(data, kind, arguments, 600.0, 0.0, "earliest", (-1.0, 1.0), most_actions, 2_000_000_000.0))


def lines_of(found: Converted) -> list[bytes]:
    return [line for part in found.parts for line in decompress(part.data).split(b"\n")]


def ids(found: Converted) -> list[Any]:
    return [orjson.loads(line)["EventId"] for line in lines_of(found)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_log(pack: Any) -> None:
    found = converted(pack(TEXT))

    assert ids(found)[:2] == ["first", "second"]
    assert ids(found)[2].endswith("-4")
    assert (found.skipped, found.refused) == (1, 1)
    assert found.problems == ["3: it is no line of a dsjson log: JSON is malformed: invalid character (byte 0)"]
    assert (found.first, found.last) == (1767225601.0, 2_000_000_000.0)

    assert found.events == 3
    assert found.name == imports.name_of(found.first, lines_of(found))
    assert [part.metadata["n"] for part in found.parts] == ["3"]


def test_ids_that_are_made_up_differ_from_file_to_file() -> None:
    assert ids(converted(TEXT))[2] == ids(converted(TEXT))[2] != ids(converted(TEXT + b"\n"))[2]


def test_a_table() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"actions": [["a", "b"]], "chosen": ["b"], "probability": [0.5]}), sink)
    text = b'actions,chosen,probability\n"[""a"",""b""]",b,0.5\n'

    for found in (converted(sink.getvalue(), "parquet"), converted(gzip.compress(text), "csv")):
        assert found.events == 1
        assert orjson.loads(lines_of(found)[0])["_labelIndex"] == 1


def test_a_line_with_more_actions_than_the_loop_takes_is_refused() -> None:
    assert converted(TEXT, most_actions=1).problems[0] == "1: it has 2 actions; 1 to 1 can be learned from"


def test_ten_problems_are_told() -> None:
    found = converted(b"x\n" * 12)

    assert (found.parts, found.events, found.refused, len(found.problems)) == ([], 0, 12, 10)
    assert (found.first, found.last) == (0.0, 0.0)


@pytest.mark.parametrize("data", [gzip.compress(TEXT)[:-9], zstandard.compress(TEXT)[:6] + b"x" * 40])
def test_a_damaged_file(data: bytes) -> None:
    with pytest.raises(ApiError, match="The file cannot be unpacked"):
        converted(data)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_file_that_is_too_large(pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "MAX_TEXT", len(TEXT) - 1)

    with pytest.raises(ApiError, match="import it in parts") as refused:
        converted(pack(TEXT))

    assert refused.value.code == "PayloadSizeExceeded"


@pytest.mark.parametrize("kind", ["dsjson", "csv", "parquet"])
def test_a_file_that_is_too_large_as_it_came(
    kind: Literal["dsjson", "csv", "parquet"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converting, "MAX_TEXT", 10)

    with pytest.raises(ApiError, match="import it in parts"):
        converted(b"PAR1 is no such file", kind)


def test_a_file_of_which_too_much_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = io.BytesIO()
    rows = 1000
    table = {"actions": [["tea", "coffee"]] * rows, "chosen": ["tea"] * rows, "probability": [0.5] * rows}
    pq.write_table(pa.table(table), sink)
    assert converted(sink.getvalue(), "parquet").events == rows
    monkeypatch.setattr(converting, "MAX_LINES", 100_000)

    with pytest.raises(ApiError, match="Lines of more than 100000 bytes come of the file") as refused:
        converted(sink.getvalue(), "parquet")

    assert refused.value.code == "PayloadSizeExceeded"


async def test_a_process_of_its_own_does_the_same() -> None:
    file = File(TEXT, "dsjson", DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT], 600.0, 0.0, "earliest", (-1.0, 1.0), 50, 2e9)

    assert await converting.run(file) == convert(file)


async def test_a_cell_of_a_table_may_hold_as_many_actions_as_a_loop_takes() -> None:
    actions = [{"id": f"a{n}", "features": [{"text": "x" * 200}]} for n in range(1000)]
    cell = orjson.dumps(actions).decode().replace('"', '""')
    data = f'actions,chosen,probability,reward\n"{cell}",a7,0.5,1\n'.encode()
    file = File(data, "csv", DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT], 600.0, 0.0, "earliest", (-1.0, 1.0), 1000, 2e9)

    found = await converting.run(file)

    assert (found.events, found.problems) == (1, [])


async def test_a_refusal_of_that_process() -> None:
    data = gzip.compress(TEXT)[:-9]
    file = File(data, "csv", DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT], 600.0, 0.0, "earliest", (-1.0, 1.0), 50, 2e9)

    with pytest.raises(ApiError, match="cannot be unpacked"):
        await converting.run(file)


@pytest.mark.parametrize("error", [TimeoutError(), ChildError("code -11")])
async def test_a_file_that_ends_the_process(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def compute(*_: object) -> bytes:
        raise error

    monkeypatch.setattr(converting, "compute", compute)
    file = File(TEXT, "dsjson", DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT], 600.0, 0.0, "earliest", (-1.0, 1.0), 50, 2e9)

    with pytest.raises(ApiError, match="ends the process that reads it") as refused:
        await converting.run(file)

    assert refused.value.code == "InvalidRequest"
