"""Turns a stored window, a row of the journal, or a slice, into one without what is erased.

Each step may be cut off anywhere, repeated, or done by two at once. A window's blobs are never altered: what is left
of them is written as a new generation, and the old ones are deleted. A row is replaced under its own keys, once its
bucket is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.log import imports, index, joined, rows, slices
from shared.log.erasure import Erased, decode_line
from shared.log.imports import Part
from shared.log.joined import DSJSON, INDEX, OBSERVATIONS, Window
from shared.log.reader import Reader
from shared.log.records import MARK_BYTES, Observed, decode_observed, decode_ranked, mark, readable
from shared.log.slices import Slice
from shared.storage import Blobs, Row, StorageError, Tables

Kinds = dict[str, dict[int, int]]
"""What is stored of a window: sizes of blobs by kind and generation; see `joined.stored`."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event that was removed: its id, the tag of its subject, when it arrived, and its mark."""

    id: str
    subject: str | None
    time: float
    mark: bytes


@dataclass(slots=True)
class Gone:
    """What was removed from one place."""

    events: list[Event] = field(default_factory=list)
    observations: list[Observed] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.events or self.observations)


def outdated(kinds: Kinds) -> list[tuple[str, int]]:
    """The blobs of a window, by kind and generation, in whose place others count.

    A generation's index comes last. So where it stands, a kind that has no blob of its generation had nothing left.
    """
    latest = max(kinds.get(INDEX, {-1: 0}))
    newest = {kind: max(latest, *generations) for kind, generations in kinds.items()}
    return [(kind, n) for kind, generations in kinds.items() for n in generations if n < newest[kind]]


def older(kinds: Kinds, generation: int) -> list[tuple[str, int]]:
    """The blobs of a window that are of an older generation."""
    return [(kind, n) for kind, generations in kinds.items() for n in generations if n < generation]


def without(kinds: Kinds, old: Sequence[tuple[str, int]]) -> Kinds:
    """What is stored of a window less some blobs of it."""
    left = {kind: {n: size for n, size in sizes.items() if (kind, n) not in old} for kind, sizes in kinds.items()}
    return {kind: sizes for kind, sizes in left.items() if sizes}


async def delete(blobs: Blobs, loop_id: str, span: tuple[int, int], old: Sequence[tuple[str, int]]) -> None:
    """Delete blobs of a window, given by kind and generation."""
    for kind, generation in old:
        await blobs.delete(joined.window_path(loop_id, Window(*span, generation), kind))


async def table_of(blobs: Blobs, loop_id: str, span: tuple[int, int], kinds: Kinds) -> index.Table | None:
    """The index of a window, or None where none is stored."""
    if INDEX not in kinds:
        return None
    path = joined.window_path(loop_id, Window(*span, max(kinds[INDEX])), INDEX)
    blob = await blobs.get(path)
    if blob is None:
        raise StorageError(f"{path} is gone")
    return index.decode(blob.data)


async def events(blobs: Blobs, loop_id: str, span: tuple[int, int], kinds: Kinds) -> list[Event]:
    """All events of a window."""
    if DSJSON not in kinds:
        return []
    lines = await joined.read_whole(blobs, loop_id, Window(*span, max(kinds[DSJSON])), DSJSON)
    return _events(lines)


async def window(
    blobs: Blobs, loop_id: str, span: tuple[int, int], kinds: Kinds, generation: int, erased: Erased
) -> Gone:
    """Write what is left of a window as a generation, and delete the older ones.

    Args:
        blobs: hold the log.
        loop_id: the loop.
        span: the window.
        kinds: what is stored of it.
        generation: of what is written: that of the checkpoint in which the erasures stand.
        erased: what goes.
    """
    gone = Gone()
    left: dict[str, list[bytes]] = {}
    labels: dict[str, str] = {}
    for kind in (DSJSON, OBSERVATIONS):
        lines: list[bytes] = []
        if kind in kinds:
            held = Window(*span, max(kinds[kind]))
            lines, labels[kind] = await joined.read_labelled(blobs, loop_id, held, kind)
        left[kind] = erased.joined(lines, span[0]) if kind == DSJSON else erased.observation_lines(lines)
        removed = set(lines) - set(left[kind])
        gone.events += _events(removed) if kind == DSJSON else []
        gone.observations += readable(decode_observed, removed) if kind == OBSERVATIONS else []
    if not gone and len({max(generations) for generations in kinds.values()}) == 1:
        return gone  # nor was it cut off half done
    after = Window(*span, generation)
    for kind, lines in left.items():
        await joined.write(blobs, loop_id, after, kind, lines, labels.get(kind, ""))
    await joined.write_index(blobs, loop_id, after, index.of_lines(left[DSJSON], left[OBSERVATIONS]))
    await delete(blobs, loop_id, span, older(kinds, generation))
    return gone


async def imported(blobs: Blobs, loop_id: str, part: Part, generation: int, erased: Erased) -> Gone:
    """Write what is left of a part of an import as a generation, and delete it; nothing where a later one stands.

    Args:
        blobs: hold the imports.
        loop_id: the loop.
        part: the part, of a state before that generation.
        generation: of what is written.
        erased: what goes.
    """
    lines = await imports.read_whole(blobs, loop_id, part)
    left = erased.joined(lines, 0)
    if len(left) == len(lines):
        return Gone()
    await imports.replace_part(blobs, loop_id, part, generation, left)
    return Gone(_events(set(lines) - set(left)))


def ranked(row: Row, lines: list[bytes]) -> list[Event | None]:
    """The events of a journal row's lines; None for one that cannot be decoded."""
    marks = bytes(row["h"])  # type: ignore[arg-type]
    found: list[Event | None] = []
    for n, line in enumerate(lines):
        held = next(readable(decode_ranked, [line]), None)
        own = marks[n * MARK_BYTES : (n + 1) * MARK_BYTES] if len(marks) == len(lines) * MARK_BYTES else None
        found.append(Event(held.e, held.u, held.t, own or mark(held.e, held.t)) if held else None)
    return found


async def row(tables: Tables, blobs: Blobs, table: str, held: Row, etag: str, erased: Erased) -> Gone:
    """Replace a row of a closed bucket by what is left of it; delete it where nothing is.

    Raises:
        Conflict: it is not in the state that `etag` names any more, or its blob not in the one that was read: another
            run has replaced it, or is about to.
    """
    lines, state = await rows.read(held, blobs)
    gone = Gone()
    same = len(lines) == held["n"]  # else an earlier try was cut off half done
    if "h" in held:
        every = ranked(held, lines)
        hidden = [e is not None and erased.hides(e.id, e.subject, e.time) for e in every]
        gone.events = [e for e, hide in zip(every, hidden, strict=True) if e and hide]
        left = [line for line, hide in zip(lines, hidden, strict=True) if not hide]
        marks = erased.marks(b"".join(_kept(bytes(held["h"]), hidden)))  # type: ignore[arg-type]
        same = same and not gone and marks == held["h"]
    else:
        left, marks = erased.observation_lines(lines), b""
        gone.observations = list(readable(decode_observed, set(lines) - set(left)))
        same = same and not gone
    if not same:
        key = rows.RowKey(table, str(held["PartitionKey"]), str(held["RowKey"]))
        await _replace(tables, blobs, key, (etag, state), left, marks)
    return gone


async def _replace(
    tables: Tables, blobs: Blobs, key: rows.RowKey, state: tuple[str, str | None], left: list[bytes], marks: bytes
) -> None:
    """Put what is left into a row, given the ETags of it and of its blob."""
    path, (etag, blob_etag) = rows.overflow_path(key), state
    if not left:
        await tables.delete(key.table, key.partition, key.row, etag)
        await blobs.delete(path)
        return
    frame = rows.compress(left)
    row = rows.pack(key, frame, len(left), sum(map(len, left)), marks)
    if "b" in row:
        if blob_etag is None and (orphan := await blobs.get(path)):  # of a try that was cut off before the row's turn
            blob_etag = orphan.etag
        await blobs.put(path, frame, blob_etag, rows.extent(left))
    await tables.replace(key.table, row, etag)
    if "b" not in row:
        await blobs.delete(path)


async def mail(blobs: Blobs, loop_id: str, held: Slice, erased: Erased) -> Gone:
    """Replace the mail of a slice by what is left of it; whoever reads a part of it sees by its ETag that it is new.

    Raises:
        Conflict: another run has replaced it meanwhile.
    """
    gone, path = Gone(), slices.path(loop_id, held, slices.MAIL)
    blob = await blobs.get(path)
    if blob is None:
        return gone  # all of its windows are joined
    parts = []
    for part in slices.decode(blob.data):
        lines = rows.decompress(part.data).split(b"\n")
        left = erased.observation_lines(lines)
        gone.observations += readable(decode_observed, set(lines) - set(left))
        if left:
            parts.append(part if left == lines else part._replace(data=rows.compress(left)))
    if gone:
        await blobs.put(path, slices.encode(parts), blob.etag)
    return gone


async def ranks(tables: Tables, blobs: Blobs, loop_id: str, held: Slice, shards: Sequence[int], erased: Erased) -> None:
    """Replace the events of a slice by those that are still in the journal, where any of them is erased.

    Call it when the journal's rows are without what is erased. Its windows stay as they are.

    Raises:
        Conflict: another run has replaced it meanwhile.
    """
    path = slices.path(loop_id, held, slices.RANKS)
    blob = await blobs.get(path)
    parts = slices.decode(blob.data) if blob else []
    left = []
    for part in parts:
        if slices.holds(part, erased.digests):
            # One that was ranked again since then stays.
            columns = ("PartitionKey", "RowKey", "h")
            held_rows = Reader(tables).read(loop_id, "rank", part.start, part.end, shards, columns)
            marks = [erased.marks(bytes(row["h"])) async for row in held_rows]  # type: ignore[arg-type]
            left.append(part._replace(data=slices.digests(marks)))
        else:
            left.append(part)
    if blob and left != parts:
        await blobs.put(path, slices.encode(left), blob.etag)


async def orphans(tables: Tables, blobs: Blobs, table: str, closed: int) -> None:
    """Delete what rows of closed buckets could not hold and no row names: its writer or an erasure was cut off."""
    for path in await blobs.names(f"journal/{table}/"):
        _, _, partition, name = path.split("/")
        if rows.bucket_of_partition(partition) >= closed:
            continue
        within, columns = (partition, partition + "~"), ("RowKey", "b")
        named = {row["RowKey"] async for row, _ in tables.query(table, within, columns) if row.get("b")}
        if name not in named:
            await blobs.delete(path)


def _events(lines: list[bytes] | set[bytes]) -> list[Event]:
    found = readable(decode_line, lines)
    return [Event(e.event_id, e.subject, e.time, mark(e.event_id, e.time)) for e in found]


def _kept(marks: bytes, hidden: list[bool]) -> list[bytes]:
    every = [marks[n : n + MARK_BYTES] for n in range(0, len(marks), MARK_BYTES)]
    if len(every) != len(hidden):
        return every
    return [one for one, hide in zip(every, hidden, strict=True) if not hide]
