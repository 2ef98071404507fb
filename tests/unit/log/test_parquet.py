import io
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.log import late, parquet, schema
from shared.log.buckets import Waits
from shared.log.join import Rules, decode_events, join, observations_of
from shared.log.records import APPRENTICE, Arm, Observed, event_key
from tests.hourly import read
from tests.journalled import T0, Obs, Rank, Record, Slot, SlotRank

RULES = Rules(600.0, 0.0, "sum", (-1.0, 1.0))


def lines(*records: Record) -> list[bytes]:
    events = decode_events([r.line() for r in records if isinstance(r, Rank)])
    observed = observations_of({event_key(e.e) for e in events}, [r.line() for r in records if isinstance(r, Obs)])
    return join(events, observed, [], RULES).lines


def row(*records: Record, **more: object) -> dict[str, object]:
    (line,) = lines(*records)
    rows: list[dict[str, object]] = parquet.events([orjson.dumps({**orjson.loads(line), **more})]).to_pylist()
    return rows[0]


def test_an_event_is_a_row() -> None:
    found = row(
        Rank("e", T0 + 0.25, chosen=1, p=0.8),
        Obs("e", T0 + 1, 2.0),
        Obs("e", T0 + 2, 0.5),
        epsilon=0.2,
        excluded=[[1, "x"], [3, "y"]],
        subject="0" * 32,
    )

    assert found == {
        "event_id": "e",
        "time": datetime.fromtimestamp(T0 + 0.25, UTC),
        "mode": "Online",
        "holdback": False,
        "active": True,
        "activated": False,
        "action": 1,
        "action_id": "a1",
        "probability": 0.8,
        "baseline": False,
        "actions": ["a1", "a0", "a2"],
        "probabilities": [0.8, pytest.approx(0.1), pytest.approx(0.1)],
        "excluded": ["x", "y"],
        "reward": 2.5,
        "label": 1.0,
        "rewards": 2,
        "model_version": "N/A",
        "epsilon": 0.2,
        "context": '[{"hour":22.0}]',
        "has_subject": True,
        "slots": None,
    }


def test_what_a_line_leaves_out_has_its_meaning() -> None:
    plain = row(Rank("e", T0))
    waiting = row(Rank("e", T0, deferred=True))
    activated = row(Rank("e", T0, deferred=True, mode=APPRENTICE), Obs("e", T0 + 1, kind="a"))
    sides = [row(kind("e", T0, arm=Arm(held, 1.0)))["holdback"] for kind in (Rank, SlotRank) for held in (True, False)]

    assert (plain["epsilon"], plain["excluded"], plain["has_subject"], plain["reward"]) == (None, [], False, 0.0)
    assert (plain["active"], plain["activated"], plain["rewards"], plain["baseline"]) == (True, False, 0, True)
    assert (waiting["active"], waiting["activated"]) == (False, False)
    assert sides == [True, False, True, False]
    assert (activated["active"], activated["activated"], activated["rewards"]) == (True, True, 0)
    assert (activated["mode"], activated["label"], activated["reward"]) == ("Apprentice", 1.0, 0.0)


def test_a_multi_slot_event_has_its_decisions_in_its_slots() -> None:
    ranked = SlotRank("e", T0, slots=(Slot("top", (1, 0, 2), 0, 0.6), Slot("side", (2, 0), 2), Slot("none", ())))
    found = row(
        ranked, Obs("e", T0 + 1, slots=(("top", 1.5), ("side", -0.5), ("other", 9.0))), Obs("e", T0 + 2, kind="a")
    )

    slots = found["slots"]
    assert isinstance(slots, list)
    assert [found[name] for name in ("action", "action_id", "probability", "baseline", "actions", "probabilities")] == (
        [None] * 6
    )
    assert (found["reward"], found["label"], found["rewards"], found["activated"]) == (1.0, 0.5, 2, True)
    assert slots[0] == {
        "id": "top",
        "action": 1,
        "action_id": "a1",
        "probability": 0.6,
        "baseline": False,
        "reward": 1.5,
        "label": 1.0,
        "rewards": 1,
        "actions": ["a1", "a0", "a2"],
        "probabilities": [0.6, 0.2, 0.2],
    }
    assert (slots[1]["baseline"], slots[1]["action_id"], slots[1]["reward"]) == (True, "a2", -0.5)
    empty: dict[str, object] = {
        **dict.fromkeys(slots[0]),
        "id": "none",
        "rewards": 0,
        "actions": [],
        "probabilities": [],
    }
    assert slots[2] == empty


def test_kinds_of_events_stand_side_by_side() -> None:
    found = parquet.events(lines(Rank("a", T0), SlotRank("b", T0 + 1), Rank("c", T0 + 2, chosen=2))).to_pylist()

    assert [row["action_id"] for row in found] == ["a0", None, "a2"]
    assert [row["actions"] for row in found] == [["a0", "a1", "a2"], None, ["a2", "a0", "a1"]]
    assert [row["slots"] is None for row in found] == [True, False, True]


def test_a_line_that_cannot_be_read_is_left_out() -> None:
    (line,) = lines(Rank("e", T0))

    assert parquet.events([b"{", line, b'{"EventId":"x"}', b"\xff"]).num_rows == 1
    assert parquet.events([]).num_rows == 0


def test_observations_are_rows_by_slot() -> None:
    observed = [
        Observed("a", T0 + 0.5, "r", 2.0, None, "q"),
        Observed("b", T0 + 1.0, "a"),
        Observed("c", T0 + 2.0, "r", 0.0, [("top", 1.0), ("side", 0.0)]),
    ]
    table, origin = parquet.observations(observed)
    times = np.array([T0 + 0.5, T0 + 1.0, T0 + 2.0, T0 + 2.0])
    ranked = np.array([T0 + 0.25, T0 - 600.0, np.nan, np.nan])
    found = parquet.with_fates(table, late.fates(times, ranked, Waits(((0, 600.0),)))).to_pylist()

    assert origin.tolist() == [0, 1, 2, 2]
    assert found[0] == {
        "event_id": "a",
        "time": datetime.fromtimestamp(T0 + 0.5, UTC),
        "kind": "reward",
        "value": 2.0,
        "slot": None,
        "request_id": "q",
        "fate": "joined",
        "event_time": datetime.fromtimestamp(T0 + 0.25, UTC),
        "delay_s": 0.25,
    }
    assert (found[1]["kind"], found[1]["value"], found[1]["fate"], found[1]["delay_s"]) == (
        "activation", None, "late", 601.0,
    )  # fmt: skip
    assert [(row["slot"], row["value"], row["fate"]) for row in found[2:]] == [
        ("top", 1.0, "unknown"),
        ("side", 0.0, "unknown"),
    ]
    assert (found[2]["event_time"], found[2]["delay_s"]) == (None, None)


def test_a_file_is_what_was_added_in_groups_of_bounded_size() -> None:
    table = parquet.events(lines(*(Rank(f"e{n}", T0 + n) for n in range(100))))
    sink = parquet.Sink(schema.events())
    for _ in range(1100):
        sink.add(table)
    data = sink.finish()

    held = pq.ParquetFile(io.BytesIO(data))
    assert [held.metadata.row_group(n).num_rows for n in range(3)] == [50_000, 50_000, 10_000]
    assert held.metadata.row_group(0).column(0).compression == "ZSTD"
    assert read(data).schema.equals(schema.events())
    assert parquet.Sink(schema.events()).finish() == b""


def test_the_same_rows_give_the_same_bytes() -> None:
    made = []
    for _ in range(2):
        sink = parquet.Sink(schema.events())
        sink.add(parquet.events(lines(*(Rank(f"e{n}", T0 + n) for n in range(500)))))
        made.append(sink.finish())

    assert made[0] == made[1]


def leaves(kind: pa.DataType) -> Iterator[pa.DataType]:
    if pa.types.is_list(kind):
        yield from leaves(kind.value_type)
    elif pa.types.is_struct(kind):
        for n in range(kind.num_fields):
            yield from leaves(kind.field(n).type)
    else:
        yield kind


@pytest.mark.parametrize("columns", [schema.events(), schema.observations()])
def test_only_types_that_spark_reads_are_written(columns: pa.Schema) -> None:
    sink = parquet.Sink(columns)
    sink.add(columns.empty_table())
    sink._any = True
    written = pq.ParquetFile(io.BytesIO(sink.finish())).schema
    physical = {(c.physical_type, c.logical_type.type) for c in (written.column(n) for n in range(len(written)))}

    known = {pa.string(), pa.int32(), pa.float64(), pa.bool_(), pa.timestamp("us", tz="UTC")}
    assert {leaf for field in columns for leaf in leaves(field.type)} <= known
    assert physical <= {
        ("BYTE_ARRAY", "STRING"), ("INT32", "NONE"), ("DOUBLE", "NONE"), ("BOOLEAN", "NONE"), ("INT64", "TIMESTAMP"),
    }  # fmt: skip
    stamp = written.column(1).logical_type.to_json()
    assert orjson.loads(stamp)["timeUnit"] == "microseconds" and orjson.loads(stamp)["isAdjustedToUTC"] is True
