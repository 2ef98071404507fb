"""Turns events and observations into journal lines and rows, and storage into one whose every call passes a gate."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from shared.log import activity
from shared.log.buckets import Waits, bucket_of, day_of, iso
from shared.log.records import ONLINE, Arm, Observed, encode_observed, event_key, mark, ranked_line
from shared.log.rows import RowKey, compress, pack, partition_key, table_name
from shared.storage import Blob, Blobs, Row, Tables

LOOP = "0123456789abcdef" * 2
T0 = 1_700_000_040
"""A minute, and not the first of its hour."""


@dataclass(frozen=True)
class Rank:
    """A rank call of three actions.

    Attributes:
        best: the probability of the action that was scored best; None as in a line of an earlier release.
        explored: whether another one than that was drawn.
    """

    id: str
    t: float
    deferred: bool = False
    chosen: int = 0
    p: float = 0.5
    mode: str = ONLINE
    subject: str | None = None
    arm: Arm | None = None
    began: float | None = None
    best: float | None = None
    explored: bool = False

    @property
    def trial(self) -> bytes:
        """The member of the line that says what it is part of."""
        if self.arm is not None:
            return b'"h":' + orjson.dumps([self.arm.held, self.arm.since])
        return b"" if self.began is None else b'"b":%.3f' % self.began

    def line(self) -> bytes:
        order = [self.chosen, *(n for n in range(3) if n != self.chosen)]
        dsjson = {
            "Timestamp": iso(self.t),
            "Version": "1",
            "EventId": self.id,
            **({"subject": self.subject} if self.subject else {}),
            "a": [n + 1 for n in order],
            "c": _example(self.t, 3),
            "p": [self.p, *2 * [(1 - self.p) / 2]],
            "VWState": {"m": "N/A"},
        }
        choice = b'"a":%d,"p":%.9g' % (self.chosen, self.p)
        if self.best is not None:
            shown, explored = self.chosen if self.mode == ONLINE else 0, b',"x":true' if self.explored else b""
            choice += b',"i":"a%d","g":%.9g%b' % (shown, self.best, explored)
        event_id, piece = orjson.dumps(self.id), orjson.dumps(dsjson)
        return ranked_line(event_id, self.t, self.deferred, choice, self.mode, piece, self.subject, self.trial)

    def mark(self) -> bytes:
        return mark(self.id, round(self.t, 6))  # as its line has it


@dataclass(frozen=True)
class Slot:
    """What was decided for a slot: its actions, the drawn one first and all of the others alike; none if it is empty.

    Attributes:
        p: the probability of the drawn one.
        allowed: the actions it admits, where that is not all.
        shown: the id of the action that was answered; empty as in a line of an earlier release.
    """

    id: str
    actions: tuple[int, ...]
    baseline: int = 0
    p: float = 0.5
    allowed: tuple[int, ...] | None = None
    shown: tuple[str, ...] = ()

    @property
    def probabilities(self) -> list[float]:
        rest = len(self.actions) - 1
        return [self.p, *rest * [(1 - self.p) / rest]] if rest > 0 else [1.0] * len(self.actions)


@dataclass(frozen=True)
class SlotRank(Rank):
    """A multi-slot rank call of four actions; `chosen` and `p` are those of its slots."""

    slots: tuple[Slot, ...] = (Slot("top", (1, 0, 2, 3), 0), Slot("side", (2, 0, 3), 2))

    def line(self) -> bytes:
        elements = [
            {
                "_id": slot.id,
                "_tag": f"seed={self.id}{slot.id}",
                **({} if slot.allowed is None else {"_inc": slot.allowed}),
                "sj": [{"place": slot.id}],
            }
            for slot in self.slots
        ]
        dsjson = {
            "Timestamp": iso(self.t),
            "Version": "1",
            "EventId": self.id,
            "c": {**_example(self.t, 4), "_slots": elements},
            "VWState": {"m": "N/A"},
            "_ba": [slot.baseline for slot in self.slots],
        }
        slots = [(s.id, s.actions, s.probabilities, s.baseline, *s.shown) for s in self.slots]
        choice = b'"s":' + orjson.dumps(slots)
        event_id, piece = orjson.dumps(self.id), orjson.dumps(dsjson)
        return ranked_line(event_id, self.t, self.deferred, choice, self.mode, piece, trial=self.trial)


def _example(t: float, actions: int) -> dict[str, object]:
    return {
        "FromUrl": [{"hour": t // 3600 % 24}],
        "_multi": [{"_tag": f"a{n}", "i": {"constant": 1, "id": f"a{n}"}, "j": [{"x": n}]} for n in range(actions)],
    }


@dataclass(frozen=True)
class Obs:
    """A reward, or an activation; in multi-slot, rewards by slot in place of the value."""

    id: str
    t: float
    value: float = 1.0
    kind: Literal["r", "a"] = "r"
    request: str | None = None
    slots: tuple[tuple[str, float], ...] | None = None

    def line(self) -> bytes:
        slots = None if self.slots is None else list(self.slots)
        return encode_observed(Observed(event_key(self.id), self.t, self.kind, self.value, slots, self.request))


Record = Rank | Obs


def rows_of(records: Iterable[Record], shards: Sequence[int], seed: int) -> list[tuple[str, int, int, Row]]:
    """The records as rows of some writers, as (stream, shard, bucket, row); how they are grouped is up to the seed."""
    chance = random.Random(seed)
    groups: dict[tuple[str, int, int, str], list[Record]] = defaultdict(list)
    for record in records:
        stream = "rank" if isinstance(record, Rank) else "obs"
        shard = chance.choice(shards)
        groups[stream, shard, bucket_of(record.t), f"w{chance.randrange(3)}"].append(record)
    rows = []
    for n, ((stream, shard, bucket, writer), group) in enumerate(groups.items()):
        chance.shuffle(group)
        key = RowKey("", partition_key(shard, bucket), f"{writer}_{n:010d}")
        marks = b"".join(record.mark() for record in group if isinstance(record, Rank))
        lines = [record.line() for record in group]
        row = pack(key, compress(lines), len(lines), sum(map(len, lines)), marks)
        rows.append((stream, shard, bucket, row))
    return rows


async def journal(
    tables: Tables, records: Iterable[Record], waits: Waits, shards: Sequence[int] = (0, 1, 2), seed: int = 0,
    loop_id: str = LOOP,
) -> None:  # fmt: skip
    """Write records into the journal as its writers do: the note of the span first, then the row."""
    for stream, shard, bucket, row in rows_of(records, shards, seed):
        await activity.note_rows(tables, activity.span_of(loop_id, shard, bucket, waits))
        await tables.put(table_name(stream, loop_id, day_of(bucket)), row)


Gate = Callable[[str, bool], Awaitable[None]]
"""Called before (False) and after (True) each storage call with the call's name, such as `put rank...`."""


class WatchedTables:
    """`Tables` behind a gate."""

    def __init__(self, tables: Tables, gate: Gate) -> None:
        self._tables = tables
        self._gate = gate

    async def _pass(self, name: str, call: Awaitable[Any]) -> Any:
        return await _through(self._gate, name, call)

    async def put(self, table: str, row: Row) -> float:
        at: float = await self._pass(f"put {table}", self._tables.put(table, row))
        return at

    async def replace(self, table: str, row: Row, etag: str) -> None:
        await self._pass(f"replace {table}", self._tables.replace(table, row, etag))

    async def query(
        self, table: str, partitions: tuple[str, str], select: Sequence[str] | None = None
    ) -> AsyncIterator[tuple[Row, str]]:
        await self._gate(f"query {table}", False)
        async for found in self._tables.query(table, partitions, select):
            yield found

    async def delete(self, table: str, partition: str, row: str, etag: str | None = None) -> None:
        await self._pass(f"delete {table}", self._tables.delete(table, partition, row, etag))

    async def names(self, prefix: str) -> list[str]:
        names: list[str] = await self._pass("names", self._tables.names(prefix))
        return names

    async def drop(self, table: str) -> None:
        await self._pass(f"drop {table}", self._tables.drop(table))


class WatchedBlobs:
    """`Blobs` behind a gate."""

    def __init__(self, blobs: Blobs, gate: Gate) -> None:
        self._blobs = blobs
        self._gate = gate

    async def _pass(self, name: str, call: Awaitable[Any]) -> Any:
        return await _through(self._gate, name, call)

    async def get(self, path: str) -> Blob | None:
        blob: Blob | None = await self._pass(f"get {path}", self._blobs.get(path))
        return blob

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        blob: Blob | None = await self._pass(f"get {path}", self._blobs.get_changed(path, etag))
        return blob

    async def get_range(self, path: str, start: int, length: int) -> Blob | None:
        blob: Blob | None = await self._pass(f"get {path}", self._blobs.get_range(path, start, length))
        return blob

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        new: str = await self._pass(f"put {path}", self._blobs.put(path, data, etag, metadata))
        return new

    async def names(self, prefix: str) -> list[str]:
        names: list[str] = await self._pass("names", self._blobs.names(prefix))
        return names

    async def sizes(self, prefix: str) -> dict[str, int]:
        sizes: dict[str, int] = await self._pass("sizes", self._blobs.sizes(prefix))
        return sizes

    async def folders(self, prefix: str) -> list[str]:
        folders: list[str] = await self._pass("folders", self._blobs.folders(prefix))
        return folders

    async def delete(self, path: str) -> None:
        await self._pass(f"delete {path}", self._blobs.delete(path))


async def _through(gate: Gate, name: str, call: Awaitable[Any]) -> Any:
    try:
        await gate(name, False)
    except BaseException:
        call.close()  # type: ignore[attr-defined]  # a coroutine that is never awaited would warn
        raise
    result = await call
    await gate(name, True)
    return result
