"""Turns rows of a CSV or Parquet file into decisions that were taken elsewhere (docs/warm-start.md has the columns)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import orjson

from shared.contract import instants
from shared.contract.errors import ApiError
from shared.warmstart.past import CODE, Choice, Past, too_large

ACTIONS, CHOSEN, PROBABILITY, REWARD = "actions", "chosen", "probability", "reward"
EVENT_ID, TIME, CONTEXT = "event_id", "time", "context"
COLUMNS = (ACTIONS, CHOSEN, PROBABILITY, REWARD, EVENT_ID, TIME, CONTEXT)
"""Those with a meaning of their own; any other one is a feature of the context, by its name."""
_BATCH = 64
"""Rows of a Parquet file that are held at a time: what a column says once for all of them is there for each then."""

_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,18})?(?:[eE][-+]?\d{1,2})?", re.ASCII)

Row = dict[str, Any]


def of_csv(data: bytes) -> Iterator[Row]:
    """The rows of a CSV file with a line of names: UTF-8, commas, quotes doubled; an empty cell is no value.

    Raises:
        ApiError: InvalidRequest when it is no such file; after the rows before.
    """
    try:
        text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
        reader = csv.DictReader(text, strict=True)
        for row in reader:
            if None in row or None in row.values():
                raise ApiError(CODE, f"line {reader.line_num} does not have as many cells as there are columns")
            yield {name: value if name in COLUMNS else _cell(value) for name, value in row.items() if value != ""}
    except (csv.Error, UnicodeDecodeError) as e:
        raise ApiError(CODE, f"it cannot be read as CSV: {e}") from e


def _cell(text: str) -> str | float | bool:
    """The feature in a cell: what JSON has for a number or a boolean is one, all else is text; so is `007`."""
    if _NUMBER.fullmatch(text):
        return float(text)
    return text == "true" if text in ("true", "false") else text


def of_parquet(data: bytes, most: int) -> Iterator[Row]:
    """The rows of a Parquet file; null is no value.

    Args:
        data: the file.
        most: bytes that it may have, unpacked.

    Raises:
        ApiError: InvalidRequest when it is no such file, PayloadSizeExceeded when it is too large; after the rows
            before.
    """
    import pyarrow as pa  # takes 0.2 s of a cold start
    import pyarrow.parquet as pq

    try:
        file, size = pq.ParquetFile(io.BytesIO(data)), 0
        # By what the file says of itself, before anything is unpacked; then by what has come of it.
        if sum(file.metadata.row_group(n).total_byte_size for n in range(file.num_row_groups)) > most:
            raise too_large(most)
        for batch in file.iter_batches(_BATCH):
            if (size := size + batch.nbytes) > most:
                raise too_large(most)
            for row in batch.to_pylist():
                yield {name: value for name, value in row.items() if value is not None}
    except (pa.ArrowException, OSError, ValueError) as e:
        raise ApiError(CODE, f"it cannot be read as Parquet: {e}") from e


def read(row: Mapping[str, Any], event_id: str, time: float) -> Past:
    """The decision of a row.

    Args:
        row: values by column.
        event_id: of a row that names none.
        time: of a row that names none, in seconds since the epoch.

    Raises:
        ApiError: InvalidRequest, naming the column.
    """
    actions = [_action(given, n) for n, given in enumerate(_listed(row, ACTIONS))]
    names = [name for name, _ in actions]
    context = _json(row, CONTEXT) if CONTEXT in row else []
    objects = context if isinstance(context, list) else [context]
    beside = {name: _plain(value) for name, value in row.items() if name not in COLUMNS}
    rewards = [_number(row, REWARD)] if REWARD in row else []
    return Past(
        str(row.get(EVENT_ID, event_id)),
        _time(row[TIME]) if TIME in row else time,
        [*objects, beside] if beside else objects,
        actions,
        Choice([_chosen(row, names)], [_number(row, PROBABILITY)], rewards),
    )


def _listed(row: Mapping[str, Any], column: str) -> list[Any]:
    given = _json(row, column)
    if not isinstance(given, list):
        raise ApiError(CODE, f"column {column} must hold an array")
    return given


def _json(row: Mapping[str, Any], column: str) -> Any:
    """What a column holds: JSON in a text, or what Parquet has structs and lists for."""
    if column not in row:
        raise ApiError(CODE, f"column {column} must have a value")
    given = row[column]
    if not isinstance(given, str | bytes):
        return _plain(given)
    try:
        return orjson.loads(given)
    except orjson.JSONDecodeError as e:
        raise ApiError(CODE, f"column {column} must hold JSON: {e}") from e


def _plain(value: Any) -> Any:
    """A value as JSON would have it: a struct loses what is null in it, a date becomes text."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _action(given: Any, n: int) -> tuple[str, list[Any]]:
    """An action: an id alone, or an object with `id` and `features` as Rank takes it."""
    if isinstance(given, str):
        return given, [{}]
    if not isinstance(given, dict) or not isinstance(given.get("id"), str):
        raise ApiError(CODE, f"{ACTIONS}[{n}] must be an id, or an object with id and features")
    features = given.get("features", [{}])
    return given["id"], features if isinstance(features, list) else [features]


def _chosen(row: Mapping[str, Any], names: list[str]) -> int:
    given = row.get(CHOSEN)
    if given is None:
        raise ApiError(CODE, f"column {CHOSEN} must have a value")
    if str(given) in names:
        return names.index(str(given))
    raise ApiError(CODE, f"column {CHOSEN} must be the id of one of the actions; it is {str(given)[:64]!r}")


def _number(row: Mapping[str, Any], column: str) -> float:
    try:
        return float(row[column])
    except KeyError as e:
        raise ApiError(CODE, f"column {column} must have a value") from e
    except (TypeError, ValueError) as e:
        raise ApiError(CODE, f"column {column} must be a number; it is {str(row[column])[:64]!r}") from e


def _time(given: Any) -> float:
    if isinstance(given, datetime):
        return (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
    if isinstance(given, date):
        return datetime(given.year, given.month, given.day, tzinfo=UTC).timestamp()
    try:
        return float(given) if isinstance(given, int | float) else instants.parse(str(given))
    except ValueError as e:
        raise ApiError(CODE, f"column {TIME}: {e}") from e
