"""Rows of CSV and Parquet become decisions; a refusal names the column."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.contract.errors import ApiError
from shared.warmstart.past import Choice, Past
from shared.warmstart.rows import Row, of_csv, of_parquet, read

ACTIONS = '["tea", {"id": "ice", "features": [{"hot": false}]}]'
ROW: Row = {"event_id": "e1", "time": "2026-01-02", "actions": ACTIONS, "chosen": "ice", "probability": "0.25"}

MOST = 1_000_000
"""Bytes that a file may have."""


def test_a_row() -> None:
    row = {**ROW, "reward": "0.5", "context": '{"hour": 9}', "device": "phone", "age": "30"}

    assert read(row, "none-1", 0.0) == Past(
        "e1",
        1767312000.0,
        [{"hour": 9}, {"device": "phone", "age": "30"}],
        [("tea", [{}]), ("ice", [{"hot": False}])],
        Choice([1], [0.25], [0.5]),
    )


def test_what_a_row_does_not_say() -> None:
    past = read({"actions": ["a"], "chosen": "a", "probability": 1}, "none-1", 12.0)

    assert past == Past("none-1", 12.0, [], [("a", [{}])], Choice([0], [1.0], []))


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        (1.5, 1.5),
        (datetime(1970, 1, 1, 0, 1), 60.0),
        (datetime(1970, 1, 1, 0, 1, tzinfo=UTC), 60.0),
        (date(1970, 1, 2), 86_400.0),
    ],
)
def test_times(time: Any, seconds: float) -> None:
    assert read({**ROW, "time": time}, "", 0.0).time == seconds


def test_features_may_be_one_object() -> None:
    assert read({**ROW, "actions": [{"id": "ice", "features": {"x": 1}}]}, "", 0.0).actions == [("ice", [{"x": 1}])]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"actions": None}, "column actions must hold an array"),
        ({"actions": "{"}, "column actions must hold JSON"),
        ({"actions": "{}"}, "column actions must hold an array"),
        ({"actions": "[1]"}, r"actions\[0\] must be an id"),
        ({"actions": "[{}]"}, r"actions\[0\] must be an id"),
        ({"chosen": "soup"}, "column chosen must be the id of one of the actions; it is 'soup'"),
        ({"chosen": None}, "column chosen must have a value"),
        ({"probability": "much"}, "column probability must be a number; it is 'much'"),
        ({"probability": None}, "column probability must be a number"),
        ({"reward": "good"}, "column reward must be a number"),
        ({"time": "soon"}, "column time: 'soon' is no date-time"),
        ({"context": "["}, "column context must hold JSON"),
    ],
)
def test_a_refusal_names_the_column(changes: Row, problem: str) -> None:
    with pytest.raises(ApiError, match=problem):
        read({**ROW, **changes}, "", 0.0)


@pytest.mark.parametrize("column", ["actions", "chosen", "probability"])
def test_columns_that_must_be_there(column: str) -> None:
    row = {name: value for name, value in ROW.items() if name != column}

    with pytest.raises(ApiError, match=f"column {column} must have a value"):
        read(row, "", 0.0)


def test_csv() -> None:
    text = '\ufeffchosen,reward,actions\r\n"a,b",1,"[""a,b""]"\r\nb,,"[""b""]"\r\n'

    assert list(of_csv(text.encode())) == [
        {"chosen": "a,b", "reward": "1", "actions": '["a,b"]'},
        {"chosen": "b", "actions": '["b"]'},
    ]


@pytest.mark.parametrize(
    ("cell", "feature"),
    [("30", 30.0), ("-0.5", -0.5), ("1e3", 1000.0), ("007", "007"), ("1.", "1."), ("true", True), ("False", "False")],
)
def test_features_in_csv(cell: str, feature: object) -> None:
    [row] = of_csv(f"age,reward\n{cell},1\n".encode())

    assert row == {"age": feature, "reward": "1"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a,b\n1\n", "line 2 does not have as many cells"),
        (b"a,b\n1,2,3\n", "line 2 does not have as many cells"),
        (b'a,b\n"1,2\n', "cannot be read as CSV"),
        (b"a,b\n\xff,2\n", "cannot be read as CSV"),
    ],
)
def test_what_is_no_csv(data: bytes, problem: str) -> None:
    with pytest.raises(ApiError, match=problem):
        list(of_csv(data))


def test_parquet_with_lists_and_structs() -> None:
    actions = [[{"id": "a", "features": [{"x": 1, "y": None}]}, {"id": "b", "features": [{"x": None, "y": "z"}]}]]
    table = pa.table(
        {"actions": actions, "chosen": ["b"], "probability": [0.5], "reward": [None], "day": [date(2026, 1, 1)]}
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)

    [row] = of_parquet(sink.getvalue(), MOST)

    assert read(row, "none-1", 3.0) == Past(
        "none-1",
        3.0,
        [{"day": "2026-01-01"}],
        [("a", [{"x": 1}]), ("b", [{"y": "z"}])],
        Choice([1], [0.5], []),
    )


def test_what_is_no_parquet() -> None:
    with pytest.raises(ApiError, match="cannot be read as Parquet"):
        list(of_parquet(b"PAR1 or not", MOST))


def _told_once(rows: int, text: str) -> bytes:
    """A file that says one long text once, for all its rows."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"actions": [text] * rows}), sink, compression="zstd")
    return sink.getvalue()


def test_parquet_is_as_large_as_its_rows_are() -> None:
    data = _told_once(1000, "x" * 10_000)
    assert len(data) < 100_000
    assert len(list(of_parquet(data, 11_000_000))) == 1000

    taken: list[Row] = []
    with pytest.raises(ApiError, match="more than 2000000 bytes, unpacked") as refused:
        taken.extend(of_parquet(data, 2_000_000))

    assert refused.value.code == "PayloadSizeExceeded"


def test_parquet_that_says_itself_that_it_is_too_large_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _told_once(1, "x" * 1_000_000)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_: pytest.fail("it is unpacked"))

    with pytest.raises(ApiError, match="import it in parts"):
        list(of_parquet(data, 900_000))
