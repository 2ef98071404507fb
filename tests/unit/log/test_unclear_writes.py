"""The journal's rule for writes whose outcome is unknown (ADR 0002), held over storage that fails at random."""

import asyncio
import random
from collections import Counter

import pytest

from shared.clock import StorageClock
from shared.counters import Counters
from shared.log import rows
from shared.log.buckets import Waits, bucket_of
from shared.log.journal import Journal
from shared.log.rows import bucket_of_partition
from shared.storage import Row, Unavailable
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.journalled import LOOP, T0

WAITS = Waits(((0, 5.0),))
_sleep = asyncio.sleep


class UnclearTables(MemoryTables):
    """Loses requests before they take effect and answers after it, one in so many of each; any of them takes time."""

    def __init__(self, seed: int, before: float, after: float) -> None:
        super().__init__(lambda: self.time)
        self.time = float(T0)
        self.keys: dict[tuple[bytes, ...], set[tuple[str, str, str]]] = {}
        """Under which keys each row's contents were ever tried."""
        self._chance = random.Random(seed)
        self._before, self._after = before, after

    async def put(self, table: str, row: Row) -> float:
        await _sleep(0)
        self.time += self._chance.uniform(0.0, 0.5)
        if table.startswith("rank"):
            lines = tuple(await rows.lines(row, MemoryBlobs()))
            self.keys.setdefault(lines, set()).add((table, str(row["PartitionKey"]), str(row["RowKey"])))
        if self._chance.random() < self._before:
            raise Unavailable("refused")
        written = await super().put(table, row)
        if self._chance.random() < self._after:
            raise Unavailable("the answer is lost")
        return written


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("before", "after"), [(0.0, 0.7), (0.7, 0.0), (0.4, 0.4), (0.0, 1.0)])
async def test_a_write_of_unknown_outcome_is_repeated_under_its_keys_while_its_bucket_is_open_and_never_moved(
    monkeypatch: pytest.MonkeyPatch, seed: int, before: float, after: float
) -> None:
    tables, counters = UnclearTables(seed, before, after), Counters()

    async def sleep(seconds: float) -> None:
        tables.time += seconds
        await _sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    random.seed(seed)
    clock = StorageClock(lambda: tables.put("clock", {"PartitionKey": "c", "RowKey": "p"}), lambda: tables.time)
    journal = Journal(tables, MemoryBlobs(), clock, counters)
    lines, arrived = [], {}
    for n in range(60):
        text, time = b"%d" % n, journal.now()
        arrived[text] = bucket_of(time)
        lines.append(journal.append("rank", LOOP, WAITS, text, time))
        for _ in range(n % 7):
            await _sleep(0)
    await journal.drain()

    stands: Counter[bytes] = Counter()
    for table in await tables.names("rank"):
        async for row, _ in tables.query(table, ("", "~")):
            for text in await rows.lines(row, MemoryBlobs()):
                stands[text] += 1
                assert bucket_of_partition(str(row["PartitionKey"])) == arrived[text], "it was moved to another bucket"
    assert all(len(keys) == 1 for keys in tables.keys.values()), "it was tried under other keys"
    assert max(stands.values(), default=0) <= 1, "a row stands twice"
    assert all(stands[line.text] == 1 for line in lines if line.done.result())
    missed = [line for line in lines if line.lost]
    assert counters["journal.lost"] == len(missed)
    if after == 1.0:
        assert len(missed) == len(lines), "what was never answered was never acknowledged"
        assert counters["journal.retries"] > 0
    else:
        assert len(missed) < len(lines)
