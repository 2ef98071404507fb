"""Turns lines that came from elsewhere into immutable blobs, which a loop learns before its own log, and back.

`loops/<id>/imports/<import>/<part>.dsjson.zst`, and a record beside the parts that is written last. An import is named
by the file that it was made of, so the same file makes the same one. What an erasure leaves of a part is a new
generation of it, as of a window (docs/adr/0018).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from shared.log import joined
from shared.log.erasure import Erased
from shared.log.joined import Held, Packed
from shared.storage import Blobs, Conflict, documents

PART_LINES, PART_BYTES = 10_000, 64 * 1024 * 1024
"""Of a part at most, as of a window of the log."""
_NAME = re.compile(r"\d{10}-[0-9a-f]{16}", re.ASCII)
_PART = re.compile(r"/(\d{10}-[0-9a-f]{16})/(\d{5})(?:\.(\d+))?\.dsjson\.zst$", re.ASCII)
_RECORD = re.compile(r"/(\d{10}-[0-9a-f]{16})/import\.json$", re.ASCII)
_LATEST = 9_999_999_999


class Import(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record of an import.

    Attributes:
        id: its name.
        source: what it was read from, in words.
        created: when, in seconds since the epoch.
        first, last: the times of its first and last event.
        events: how many there are to learn.
        skipped: lines that held nothing to learn: never activated, or decided for comparison.
        refused: lines that could not be taken.
        problems: what was wrong with the first few of those.
        format: of this record.
    """

    id: str
    source: str
    created: float
    first: float
    last: float
    events: int
    skipped: int = 0
    refused: int = 0
    problems: list[str] = []
    format: int = documents.FORMAT


class Part(msgspec.Struct, frozen=True, order=True):
    """A blob of an import's lines: of which one, its number, and the state of what it holds."""

    name: str
    number: int
    generation: int = 0


def folder(loop_id: str, name: str = "") -> str:
    """Where a loop's imports lie, or the blobs of one."""
    return f"loops/{loop_id}/imports/" + (f"{name}/" if name else "")


def incoming(loop_id: str) -> str:
    """Where an operator puts files that are to be imported, with whatever tool copies blobs."""
    return f"loops/{loop_id}/incoming/"


def part_path(loop_id: str, part: Part) -> str:
    """The blob of a part."""
    generation = f".{part.generation}" if part.generation else ""
    return f"{folder(loop_id, part.name)}{part.number:05d}{generation}.dsjson.zst"


def name_of(first: float, lines: Sequence[bytes]) -> str:
    """What earlier releases named an import of these lines, so that they are not imported again."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
        digest.update(b"\n")
    return named(first, digest.hexdigest())


def digest_of(data: bytes, form: str) -> str:
    """What tells a file from others, whatever the loop's settings make of it by then."""
    return hashlib.sha256(form.encode() + b"\n" + data).hexdigest()


def named(first: float, digest: str) -> str:
    """The name of an import: sortable by its first event's time, and its file's own."""
    return f"{min(max(int(first), 0), _LATEST):010d}-{digest[:16]}"


async def made_of(blobs: Blobs, loop_id: str, digest: str) -> Import | None:
    """The import that was made of a file, or None; whatever time it has, where the file says none."""
    names = {match[1] for path in await blobs.names(folder(loop_id)) if (match := _RECORD.search(path))}
    name = next((name for name in sorted(names) if name.endswith(f"-{digest[:16]}")), "")
    return await find(blobs, loop_id, name)


def cut(lines: Sequence[bytes]) -> list[list[bytes]]:
    """The lines by parts, in order."""
    parts: list[list[bytes]] = []
    size = PART_BYTES
    for line in lines:
        if size + len(line) > PART_BYTES or len(parts[-1]) == PART_LINES:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += len(line)
    return parts


async def write(blobs: Blobs, loop_id: str, record: Import, packed: Sequence[Packed]) -> Import:
    """Store an import; one that is stored already is left as it is, and its record is given back.

    Nothing of that is written again: of a part that an erasure has replaced the older one would come back.

    Args:
        blobs: hold it.
        loop_id: the loop.
        record: what is to be said of it.
        packed: its parts.
    """
    if (held := await find(blobs, loop_id, record.id)) is not None:
        return held
    for number, part in enumerate(packed):
        path = part_path(loop_id, Part(record.id, number))
        with suppress(Conflict):  # an earlier try took effect
            await blobs.put(path, part.data, metadata=part.metadata)
    with suppress(Conflict):
        await blobs.put(_record_path(loop_id, record.id), msgspec.json.encode(record))
    return await find(blobs, loop_id, record.id) or record


async def find(blobs: Blobs, loop_id: str, name: str) -> Import | None:
    """The record of an import, or None where there is none; the name may be any text."""
    if not _NAME.fullmatch(name):
        return None
    path = _record_path(loop_id, name)
    blob = await blobs.get(path)
    return None if blob is None else documents.decode(blob.data, Import, path)


async def parts(blobs: Blobs, loop_id: str, names: Sequence[str]) -> list[Part]:
    """The parts of some imports that count, in the order in which they are learned."""
    newest: dict[tuple[str, int], Part] = {}
    for part in sorted(await generations(blobs, loop_id)):
        newest[part.name, part.number] = part
    return [part for part in newest.values() if part.name in names]


async def sizes(blobs: Blobs, loop_id: str, names: Sequence[str]) -> dict[tuple[str, int], int]:
    """The parts of some imports by name and number, in the order in which they are learned, with their bytes."""
    if not names:
        return {}
    held = await blobs.sizes(folder(loop_id))
    found = await parts(blobs, loop_id, names)
    return {(part.name, part.number): held.get(part_path(loop_id, part), 0) for part in found}


def batches(sizes: Mapping[tuple[str, int], int], most: int) -> list[tuple[list[tuple[str, int]], int]]:
    """Runs of parts, each of so many bytes at most or of one part, with their bytes."""
    made: list[tuple[list[tuple[str, int]], int]] = []
    for part, size in sizes.items():
        if made and made[-1][1] + size <= most:
            made[-1] = ([*made[-1][0], part], made[-1][1] + size)
        else:
            made.append(([part], size))
    return made


async def generations(blobs: Blobs, loop_id: str) -> list[Part]:
    """Every part that is stored of a loop's imports, in every generation."""
    found = [_PART.search(path) for path in await blobs.names(folder(loop_id))]
    return [Part(match[1], int(match[2]), int(match[3] or 0)) for match in found if match]


async def read(blobs: Blobs, loop_id: str, part: Part, erased: Erased) -> list[bytes]:
    """The lines of a part, less those that are erased.

    Raises:
        StorageError: the blob is gone, or is not what was written.
    """
    return erased.joined(await read_whole(blobs, loop_id, part), 0)


async def read_whole(blobs: Blobs, loop_id: str, part: Part) -> list[bytes]:
    """All lines of a part; see `read`."""
    return await asyncio.to_thread((await fetch(blobs, loop_id, part)).lines)


async def fetch(blobs: Blobs, loop_id: str, part: Part) -> Held:
    """What a part holds, unread.

    Raises:
        StorageError: the blob is gone.
    """
    return await joined.fetch_path(blobs, part_path(loop_id, part))


async def fetch_all(blobs: Blobs, loop_id: str, wanted: Sequence[tuple[str, int]]) -> list[Held]:
    """What some parts hold as they are now, by name and number.

    Raises:
        StorageError: one is gone.
    """
    if not wanted:
        return []
    newest = {(part.name, part.number): part for part in await parts(blobs, loop_id, [name for name, _ in wanted])}
    return [await fetch(blobs, loop_id, newest.get(one, Part(*one))) for one in wanted]


async def replace_part(blobs: Blobs, loop_id: str, part: Part, generation: int, lines: Sequence[bytes]) -> None:
    """Write what an erasure has left of a part as a generation, and delete the older one. It may be repeated."""
    after = msgspec.structs.replace(part, generation=generation)
    packed = joined.pack(lines)
    with suppress(Conflict):  # an earlier try took effect
        await blobs.put(part_path(loop_id, after), packed.data, metadata=packed.metadata)
    await blobs.delete(part_path(loop_id, part))


async def delete(blobs: Blobs, loop_id: str, name: str) -> None:
    """Delete an import: its record first, so that one cut off half way is none any more."""
    await blobs.delete(_record_path(loop_id, name))
    for path in await blobs.names(folder(loop_id, name)):
        await blobs.delete(path)


def _record_path(loop_id: str, name: str) -> str:
    return f"{folder(loop_id, name)}import.json"
