"""Makes the journal that a loop's traffic would have left, row by row as it is read, and counts the reads.

Rows are made of decisions over so many actions, under event ids and times of their own. Where traffic comes in bursts,
each lasts a minute; ranks and rewards both come in them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache

import numpy as np

from bench.documents import body, make_actions, rank_request
from shared.contract.requests import rank_request as decode
from shared.log import activity
from shared.log.activity import Span
from shared.log.buckets import BUCKET, Waits, iso
from shared.log.records import Observed, encode_observed, mark
from shared.log.rows import RowKey, compress, pack, partition_key
from shared.loops import policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import log_line
from shared.ranking.features import is_plain
from shared.ranking.model_cache import Held
from shared.ranking.rank import decide
from shared.storage import Row
from shared.storage.memory import MemoryTables

T0 = 1_700_006_400
"""An hour's beginning."""
BURST = 60.0
LOOP = Loop(
    "0" * 32,
    ServiceConfiguration(),
    policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]),
    Waits(((0, 600.0),)),
)
SHARDS = 4
_TEMPLATES = 100
_NAME = "f" * 32


@lru_cache
def templates(actions: int) -> list[bytes]:
    """Journal lines of decisions, under one event id and at time 0."""
    rng, cache = random.Random(5), ActionCache()
    pool = make_actions(rng, actions)
    lines = []
    for _ in range(_TEMPLATES):
        raw = body(rank_request(rng, pool), _NAME)
        lines.append(log_line(decide(decode(raw), is_plain(raw), LOOP, Held(), cache), 0.0, False))
    return lines


class Traffic:
    """So many ranks at a rate, each rewarded once within the wait.

    Args:
        ranks: how many.
        rate: of them, a second, while they come.
        wait: the loop's, in seconds.
        actions: of each.
        period: seconds from one burst to the next; None for traffic that never ceases.
    """

    def __init__(self, ranks: int, rate: float, wait: float, actions: int, period: float | None = None) -> None:
        self.waits = Waits(((0, wait),))
        self._templates = templates(actions)
        self._dense = BURST / period if period else 1.0
        self._period = period
        steady = np.arange(ranks) / rate
        later = steady + np.random.default_rng(1).uniform(0, wait * self._dense * 0.999, ranks)
        self._order = np.argsort(later)
        self.times = self._real(steady)
        self._observed = self._real(later[self._order])

    def _real(
        self, steady: np.ndarray[tuple[int], np.dtype[np.float64]]
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        if self._period is None:
            return T0 + steady
        return T0 + steady // BURST * self._period + steady % BURST

    @property
    def end(self) -> float:
        """When the last of it came."""
        return float(max(self.times[-1], self._observed[-1]))

    def buckets(self, stream: str) -> list[int]:
        """The buckets with rows of a stream."""
        times = self.times if stream == "rank" else self._observed
        return [int(n) for n in np.unique(times // BUCKET * BUCKET)]

    def row(self, stream: str, bucket: int) -> Row:
        """The one row of a bucket."""
        times = self.times if stream == "rank" else self._observed
        first, last = np.searchsorted(times, (bucket, bucket + BUCKET))
        lines, marks = [], []
        for n in range(first, last):
            time = float(times[n])
            if stream == "rank":
                line = self._templates[n % _TEMPLATES].replace(_NAME.encode(), b"%032x" % n)
                line = line.replace(b'"t":0.000000', b'"t":%.6f' % time, 1)
                lines.append(line.replace(iso(0.0).encode(), iso(time).encode(), 1))
                marks.append(mark(f"{n:032x}", time))
            else:
                event = int(self._order[n])
                lines.append(
                    encode_observed(Observed(f"{event:032x}", time, "r", float(event % 3 == 0), q=f"{n:032x}"))
                )
        key = RowKey("", partition_key(shard_of(bucket), bucket), "w_0000000001")
        return pack(key, compress(lines), len(lines), sum(map(len, lines)), b"".join(marks))


def shard_of(bucket: int) -> int:
    """The shard that writes in a bucket."""
    return bucket // BUCKET % SHARDS


class Journal(MemoryTables):
    """Tables whose journal is that of some traffic; what is not of it is kept in memory.

    Args:
        traffic: it.
        kept: how many rows are kept once they are made.

    Attributes:
        reads: how often each row of observations was read, by its bucket.
    """

    def __init__(self, traffic: Traffic, kept: int) -> None:
        super().__init__()
        self.traffic = traffic
        self.reads: Counter[int] = Counter()
        self._buckets = {stream: np.array(traffic.buckets(stream)) for stream in ("rank", "obs")}
        self._row = lru_cache(maxsize=kept)(traffic.row)

    def make_all(self) -> None:
        """Make every row, so that reading them costs nothing."""
        for stream, buckets in self._buckets.items():
            for bucket in buckets.tolist():
                self._row(stream, bucket)

    async def query(
        self, table: str, partitions: tuple[str, str], select: Sequence[str] | None = None
    ) -> AsyncIterator[tuple[Row, str]]:
        """See `Tables.query`."""
        stream = "rank" if table.startswith("rank") else "obs" if table.startswith("obs") else ""
        if not stream:
            async for found in super().query(table, partitions, select):
                yield found
            return
        shard, start, end = int(partitions[0][:2]), int(partitions[0][3:]), int(partitions[1][3:])
        first, last = np.searchsorted(self._buckets[stream], (start, end))
        for bucket in self._buckets[stream][first:last].tolist():
            if shard_of(bucket) == shard:
                row = self._row(stream, bucket)
                if stream == "obs":
                    self.reads[bucket] += 1
                yield {name: value for name, value in row.items() if select is None or name in select}, ""

    async def note(self, after: float, until: float) -> None:
        """Note the spans of what came in (after, until]."""
        spans: set[Span] = set()
        for buckets in self._buckets.values():
            first, last = np.searchsorted(buckets, (after, until), "right")
            spans |= {
                activity.span_of(LOOP.id, shard_of(b), b, self.traffic.waits) for b in buckets[first:last].tolist()
            }
        for span in spans:
            await activity.note_rows(self, span)
