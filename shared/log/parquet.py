"""Turns joined lines and observation lines into Parquet: one row an event, one row an observation (docs/queries.md).

pyarrow is imported where it is used: it takes 0.3 s, which no call should pay for.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.log import schema
from shared.log.late import FATES, Fates
from shared.log.records import ONLINE, Observed, readable

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 50_000
"""Rows that are compressed together; so many are held before they are."""


class _Action(msgspec.Struct, gc=False):
    id: str = msgspec.field(name="_tag", default="")


class _Example(msgspec.Struct, gc=False):
    context: msgspec.Raw = msgspec.field(name="FromUrl", default=msgspec.Raw(b"[]"))
    actions: list[_Action] = msgspec.field(name="_multi", default_factory=list)


class _Model(msgspec.Struct, gc=False):
    name: str = msgspec.field(name="m")


class _Seen(msgspec.Struct, gc=False):
    value: float | None = msgspec.field(name="v", default=None)
    activated: bool = msgspec.field(name="ActionTaken", default=False)


class _Outcome(msgspec.Struct, gc=False):
    """A slot's outcome; without costs where earlier slots had left no action for it."""

    id: str = msgspec.field(name="_id")
    actions: list[int] = msgspec.field(name="_a")
    probabilities: list[float] = msgspec.field(name="_p")
    seen: list[_Seen] = msgspec.field(name="_o")
    label: float | None = msgspec.field(name="_label_cost", default=None)
    cost: float | None = msgspec.field(name="_original_label_cost", default=None)


class _Line(msgspec.Struct, gc=False):
    """What is taken from a joined line; the features of actions are skipped, which is most of it."""

    event_id: str = msgspec.field(name="EventId")
    timestamp: str = msgspec.field(name="Timestamp")
    example: _Example = msgspec.field(name="c")
    model: _Model = msgspec.field(name="VWState")
    chosen: int | None = msgspec.field(name="_labelIndex", default=None)
    label: float = msgspec.field(name="_label_cost", default=0.0)
    cost: float = msgspec.field(name="_original_label_cost", default=0.0)
    order: list[int] = msgspec.field(name="a", default_factory=list)
    probabilities: list[float] = msgspec.field(name="p", default_factory=list)
    seen: list[_Seen] = msgspec.field(name="o", default_factory=list)
    outcomes: list[_Outcome] | None = msgspec.field(name="_outcomes", default=None)
    baselines: list[int] = msgspec.field(name="_ba", default_factory=list)
    excluded: list[tuple[int, str]] = []
    mode: str = ONLINE
    epsilon: float | None = None
    subject: str | None = None
    inactive: bool = msgspec.field(name="_skipLearn", default=False)
    holdback: bool = False


_decode = msgspec.json.Decoder(_Line).decode


def events(lines: Iterable[bytes]) -> pa.Table:
    """The rows of joined lines, in their order; a line that cannot be decoded has none."""
    import pyarrow as pa

    fields = schema.events()
    columns: dict[str, list[object]] = {name: [] for name in fields.names}
    flat: dict[str, tuple[list[object], list[int]]] = {"actions": ([], [0]), "probabilities": ([], [0])}
    # Line by line, so that what was decoded is still in the processor's cache: half the time, measured.
    for line in readable(_decode, lines):
        ids = [action.id for action in line.example.actions]
        for name, value in _row(line, ids).items():
            columns[name].append(value)
        for name, values in (("actions", [ids[n - 1] for n in line.order]), ("probabilities", line.probabilities)):
            held, ends = flat[name]
            held += values
            ends.append(len(held))
    several = np.array([slots is not None for slots in columns["slots"]], bool)
    arrays = []
    for field in fields:
        if field.name in flat:
            held, ends = flat[field.name]
            values = pa.array(held, field.type.value_type)
            arrays.append(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, mask=pa.array(several)))
        elif field.name == "time":
            arrays.append(pa.array(np.array(columns["time"], "datetime64[us]"), field.type))
        else:
            arrays.append(pa.array(columns[field.name], field.type))
    return pa.Table.from_arrays(arrays, schema=fields)


def _row(line: _Line, ids: Sequence[str]) -> dict[str, object]:
    """The columns of an event, less its lists of actions and probabilities."""
    slots = line.outcomes
    seen = line.seen if slots is None else [o for slot in slots for o in slot.seen]
    one = slots is None and line.chosen is not None
    return {
        "event_id": line.event_id,
        "time": line.timestamp[:-1],
        "mode": line.mode,
        "holdback": line.holdback,
        "active": not line.inactive,
        "activated": any([o.activated for o in seen]),
        "action": line.chosen,
        "action_id": ids[line.chosen] if one else None,  # type: ignore[index]
        "probability": line.probabilities[0] if one else None,
        "baseline": line.chosen == 0 if one else None,
        "excluded": [name for _, name in line.excluded],
        "reward": 0.0 - line.cost if slots is None else _sum(slot.cost for slot in slots),
        "label": 0.0 - line.label if slots is None else _sum(slot.label for slot in slots),
        "rewards": sum([o.value is not None for o in seen]),
        "model_version": line.model.name,
        "epsilon": line.epsilon,
        "context": bytes(line.example.context).decode(),
        "has_subject": line.subject is not None,
        "slots": None
        if slots is None
        else [_slot(slot, n, ids) for slot, n in zip(slots, line.baselines, strict=True)],
    }


def _sum(costs: Iterable[float | None]) -> float:
    return 0.0 - sum(cost for cost in costs if cost is not None)


def _slot(slot: _Outcome, baseline: int, ids: Sequence[str]) -> dict[str, object]:
    chosen = slot.actions[0] if slot.actions else None
    return {
        "id": slot.id,
        "action": chosen,
        "action_id": None if chosen is None else ids[chosen],
        "probability": None if chosen is None else slot.probabilities[0],
        "baseline": None if chosen is None else chosen == baseline,
        "reward": None if slot.cost is None else 0.0 - slot.cost,
        "label": None if slot.label is None else 0.0 - slot.label,
        "rewards": sum(o.value is not None for o in slot.seen),
        "actions": [ids[n] for n in slot.actions],
        "probabilities": slot.probabilities,
    }


def observations(observed: Sequence[Observed]) -> tuple[pa.Table, NDArray[np.int64]]:
    """The rows of observations, less what became of them; and of which observation each is.

    An observation with rewards of several slots has a row for each.
    """
    import pyarrow as pa

    cut = [
        (n, o, slot, value)
        for n, o in enumerate(observed)
        for slot, value in (o.s if o.s else [(None, o.v if o.k == "r" else None)])
    ]
    columns: list[object] = [
        [o.e for _, o, _, _ in cut],
        instants(np.array([o.t for _, o, _, _ in cut], float)),
        ["reward" if o.k == "r" else "activation" for _, o, _, _ in cut],
        [value for _, _, _, value in cut],
        [slot for _, _, slot, _ in cut],
        [o.q for _, o, _, _ in cut],
    ]
    fields = list(schema.observations())[: len(columns)]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields)), np.array([n for n, _, _, _ in cut], np.int64)


def with_fates(rows: pa.Table, fates: Fates) -> pa.Table:
    """The rows of observations with what became of them, one fate a row."""
    import pyarrow as pa

    unknown = np.isnan(fates.delay)
    columns = [
        *rows.columns,
        pa.array(np.array(FATES)[fates.code], pa.string()),
        pa.array(instants(fates.ranked), pa.timestamp("us", tz="UTC"), mask=unknown),
        pa.array(fates.delay, pa.float64(), mask=unknown),
    ]
    return pa.Table.from_arrays(columns, schema=schema.observations())


def instants(times: NDArray[np.float64]) -> NDArray[np.datetime64]:
    """Seconds since the epoch in whole microseconds; 0 for what is no number."""
    return np.rint(np.nan_to_num(times) * 1e6).astype(np.int64).view("datetime64[us]")


class Sink:
    """Writes a Parquet file in memory: the rows of a group, and what is compressed already.

    Args:
        columns: of its rows.
    """

    def __init__(self, columns: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self._held: list[pa.Table] = []
        self._rows = 0
        self._out = io.BytesIO()
        self._writer = pq.ParquetWriter(self._out, columns, compression="zstd", coerce_timestamps="us")
        self._any = False

    def add(self, rows: pa.Table) -> None:
        """Write rows behind those before."""
        self._held.append(rows)
        self._rows += rows.num_rows
        self._any = self._any or rows.num_rows > 0
        if self._rows >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.concat_tables(self._held), row_group_size=ROW_GROUP)
        self._held, self._rows = [], 0

    def finish(self) -> bytes:
        """The file; nothing where there was no row."""
        self._flush()
        self._writer.close()
        return self._out.getvalue() if self._any else b""
