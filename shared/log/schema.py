"""Turns what is told of an event and of an observation into Parquet's columns and their types (docs/queries.md).

The types are those that DuckDB, Spark and pandas all read: UTC microseconds, signed numbers, plain strings and lists.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@cache
def events() -> pa.Schema:
    """The columns of the events' files."""
    import pyarrow as pa

    texts, numbers = pa.list_(pa.string()), pa.list_(pa.float64())
    slot = [
        pa.field("id", pa.string()),
        pa.field("action", pa.int32()),
        pa.field("action_id", pa.string()),
        pa.field("probability", pa.float64()),
        pa.field("baseline", pa.bool_()),
        pa.field("reward", pa.float64()),
        pa.field("label", pa.float64()),
        pa.field("rewards", pa.int32()),
        pa.field("actions", texts),
        pa.field("probabilities", numbers),
    ]
    return pa.schema(
        [
            pa.field("event_id", pa.string(), nullable=False),
            pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("mode", pa.string(), nullable=False),
            pa.field("holdback", pa.bool_(), nullable=False),
            pa.field("active", pa.bool_(), nullable=False),
            pa.field("activated", pa.bool_(), nullable=False),
            pa.field("action", pa.int32()),
            pa.field("action_id", pa.string()),
            pa.field("probability", pa.float64()),
            pa.field("baseline", pa.bool_()),
            pa.field("actions", texts),
            pa.field("probabilities", numbers),
            pa.field("excluded", texts, nullable=False),
            pa.field("reward", pa.float64(), nullable=False),
            pa.field("label", pa.float64(), nullable=False),
            pa.field("rewards", pa.int32(), nullable=False),
            pa.field("model_version", pa.string(), nullable=False),
            pa.field("epsilon", pa.float64()),
            pa.field("context", pa.string(), nullable=False),
            pa.field("has_subject", pa.bool_(), nullable=False),
            pa.field("slots", pa.list_(pa.struct(slot))),
        ]
    )


@cache
def observations() -> pa.Schema:
    """The columns of the observations' files."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("event_id", pa.string(), nullable=False),
            pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("value", pa.float64()),
            pa.field("slot", pa.string()),
            pa.field("request_id", pa.string()),
            pa.field("fate", pa.string(), nullable=False),
            pa.field("event_time", pa.timestamp("us", tz="UTC")),
            pa.field("delay_s", pa.float64()),
        ]
    )
