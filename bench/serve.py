"""Serves the app with another journal, for comparison: `python -m bench.serve single|none|group`, then localhost's."""

from __future__ import annotations

import asyncio
import sys
import uuid

import shared.app
from localhost.__main__ import main
from shared.log.buckets import Waits, bucket_of, day_of
from shared.log.journal import Journal
from shared.log.line import Line
from shared.log.rows import partition_key, table_name


class NoJournal(Journal):
    """Takes every line for durable at once: what the server does without a log."""

    def append(self, stream: str, loop_id: str, waits: Waits, text: bytes, time: float, mark: bytes = b"") -> Line:
        """A line that is durable already."""
        line = Line(text, bucket_of(time), mark, asyncio.get_running_loop().create_future())
        line.done.set_result(True)
        return line


class SingleInserts(Journal):
    """One SDK insert an event, uncompressed: the obvious way to log."""

    def append(self, stream: str, loop_id: str, waits: Waits, text: bytes, time: float, mark: bytes = b"") -> Line:
        """A line with an insert of its own."""
        bucket = bucket_of(time)
        line = Line(text, bucket, mark, asyncio.get_running_loop().create_future())

        async def insert() -> None:
            row = {"PartitionKey": partition_key(0, bucket), "RowKey": uuid.uuid4().hex}
            chunks = {f"d{n}": text[n << 16 : (n + 1) << 16] for n in range(len(text) // 65_536 + 1)}
            await self._tables.put(table_name(stream, loop_id, day_of(bucket)), {**row, **chunks})
            line.done.set_result(True)

        task = asyncio.ensure_future(insert())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return line


if __name__ == "__main__":
    chosen = {"single": SingleInserts, "none": NoJournal, "group": Journal}[sys.argv[1]]
    setattr(shared.app, "Journal", chosen)  # noqa: B010 - the app takes no journal from outside but here
    sys.exit(main(sys.argv[2:]))
