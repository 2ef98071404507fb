"""Turns what is stored beside and behind a loop's log into a judgement: of erasures, of mail, of hours, of versions."""

from __future__ import annotations

import base64
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from shared.counters import Counters
from shared.learning import registry
from shared.learning.rebuild import Rebuilder
from shared.learning.registry import MODEL
from shared.log import checkpoint as checkpoints
from shared.log import erasures, hours, index, joined, merged, parts, rows, series, slices
from shared.log.buckets import EARLY, bucket_of, day_of
from shared.log.checkpoint import Checkpoint
from shared.log.day import MinuteDay
from shared.log.erasure import NOTHING
from shared.log.late import HORIZON
from shared.log.merged import DAY
from shared.log.minutes import days_of
from shared.log.parts import HOUR
from shared.log.records import Observed, decode_observed, digest_of
from shared.log.slices import MAIL, RANKS
from shared.log.subject import Subjects
from shared.loops.settings import Loop
from shared.storage import Blobs, Tables
from tests.faults.forgetful import Forgetful
from tests.faults.old import LONG_AGO
from tests.stored import everything


async def check_erased(tables: Tables, blobs: Blobs, loop: Loop, traffic: Forgetful) -> int:
    """No erased event or subject is stored anywhere by any name; each erasure has its record. How many there were."""
    needles: dict[bytes, str] = {}
    for one in traffic.traceless:
        digest = digest_of(one)
        # As it is, and as documents spell it; what follows on it decides on the last digits to the base of 64.
        needles |= dict.fromkeys([one.encode(), digest, digest.hex().encode(), base64.b64encode(digest)[:10]], one)
    subjects = Subjects(blobs)
    for name in traffic.forgotten:
        tag = await subjects.tag(loop.id, name)
        needles |= {piece: name for piece in (name.encode(), tag.encode(), bytes.fromhex(tag[:16]))}
    left = defaultdict(list)
    async for place, data in everything(tables, blobs):
        for needle, name in needles.items():
            if needle in data:
                left[name].append(place)
    assert dict(left) == {}, "erased, and still stored"
    for erasure_id, name in traffic.records.items():
        record = await erasures.find(blobs, loop.id, erasure_id)
        assert record is not None
        assert record.done is not None
        assert record.kind == ("subject" if name in traffic.forgotten else "event")
        assert name.encode() not in repr(record).encode()
    return len(traffic.records)


async def check_series(blobs: Blobs, loop: Loop, checkpoint: Checkpoint) -> int:
    """Every event of the joined log was counted once, and nothing else was. How many days there are."""
    names = [name for name in await blobs.names(f"loops/{loop.id}/series/") if name.endswith(".minutes")]
    starts = [datetime.strptime(name[-16:-8] + "+0000", "%Y%m%d%z").timestamp() for name in names]
    ahead = checkpoint.ahead.parts if checkpoint.ahead else []
    held = {int(start) for start in starts if start > LONG_AGO} | {day for part in ahead for day in days_of(part)}
    counters = Counters()
    days = await series.Series(blobs, counters).read(MinuteDay, loop.id, sorted(held))
    whole = [series.completed(day, checkpoint.ahead, checkpoint.cleared) for day in days]
    counted = sum(day.column(name).sum() for day in whole for name in ("events", "held", "inactiveEvents"))
    assert counted == checkpoint.events, "events that were counted twice, or not at all"
    assert not counters["series.damaged"]
    return len(days)


async def check_mail(blobs: Blobs, loop: Loop, traffic: Forgetful) -> int:
    """What is in the mail of a loop that waits long is there once, for a window of its event, in time. How much it is.

    Of an event whose erasure is done there is nothing, neither here nor among the events of the slices.
    """
    held, _ = await checkpoints.load(blobs, loop.id)
    running = {erasure.id for erasure in held.erasures}
    done = {name for erasure_id, name in traffic.records.items() if erasure_id not in running}
    gone = {one for one in traffic.traceless if one in done or traffic.ranked[one].subject in done}
    # An erasure takes an event from its slice, so that no more mail comes, and then its mail: one that is in force may
    # have been killed between the two.
    leaving = traffic.leaving if running else set[str]()
    digests: dict[tuple[int, int], set[bytes]] = defaultdict(set)
    for one in await slices.stored(blobs, loop.id, RANKS):
        for part in await _parts(blobs, slices.path(loop.id, one, RANKS)):
            size = slices.DIGEST.itemsize
            digests[part.start, part.end] |= {part.data[n : n + size] for n in range(0, len(part.data), size)}
    assert [one for one in gone if any(digest_of(one) in held for held in digests.values())] == []
    letters: Counter[tuple[int, int, bytes]] = Counter()
    for one in await slices.stored(blobs, loop.id, MAIL):
        for part in await _parts(blobs, slices.path(loop.id, one, MAIL)):
            for line in rows.decompress(part.data).split(b"\n"):
                o = decode_observed(line)
                wait = loop.waits.at(part.start)
                assert part.start - EARLY < o.t < part.end + wait
                # Else the slice of its events may be deleted already.
                if part.end > held.watermark and o.e not in leaving:
                    assert digest_of(o.e) in digests[part.start, part.end]
                assert o.e not in gone
                letters[part.start, part.end, line] += 1
    assert [letter for letter, times in letters.items() if times > 1] == [], "mail that came twice"
    return len(letters)


async def _parts(blobs: Blobs, path: str) -> list[slices.Part]:
    blob = await blobs.get(path)
    assert blob is not None
    return slices.decode(blob.data)


async def check_hours(
    blobs: Blobs, loop: Loop, lines: Iterable[Mapping[str, Any]], observed: Iterable[Observed]
) -> int:
    """The Parquet of closed hours and their tables hold what the log does, each once. How many rows there are.

    Args:
        blobs: hold them.
        loop: the loop.
        lines: the joined log.
        observed: all observations that arrived.
    """
    progress, _ = await hours.load(blobs, loop.id)
    ranked = [(line["EventId"], _time(line), line) for line in lines]
    events = [(one, time, line) for one, time, line in ranked if time < progress.through]
    seen = [o for o in observed if o.t < progress.through]
    stored = await _rows(blobs, loop.id, parts.EVENTS)
    wanted = Counter((one, time, -line["_original_label_cost"], len(line["o"])) for one, time, line in events)
    cells = ((row["event_id"], row["time"].timestamp(), row["reward"]) for row in stored)
    assert Counter(cells) == Counter(key[:3] for key in wanted.elements())
    found = await _rows(blobs, loop.id, parts.OBSERVATIONS)
    kept = Counter((row["event_id"], row["request_id"], row["time"].timestamp()) for row in found)
    assert kept == Counter((o.e, o.q, o.t) for o in seen)
    times: dict[str, list[float]] = defaultdict(list)
    for one, time, _ in ranked:
        times[one].append(time)
    for row in found:
        assert row["fate"] == _fate(row["time"].timestamp(), times[row["event_id"]], loop), row
    tables = [merged.path(loop.id, span) for span in merged.counting(await merged.stored(blobs, loop.id))]
    whole = index.merge([index.decode(blob.data) for path in tables if (blob := await blobs.get(path))])
    digests = [digest_of(one) for one, _, _ in events] + [digest_of(o.e) for o in seen]
    assert Counter(whole["event"].tolist()) == Counter(map(int.from_bytes, digests))
    assert int(np.sum(whole["kind"] == index.RANKED)) == len(events)
    return len(stored) + len(found)


def _fate(time: float, ranked: Iterable[float], loop: Loop) -> str:
    before = max((one for one in ranked if one < time + EARLY), default=None)
    if before is None:
        return "unknown"
    wait = loop.waits.at(bucket_of(before))
    return "joined" if time - before < wait else "late" if time - before < wait + HORIZON else "unknown"


async def _rows(blobs: Blobs, loop_id: str, table: str) -> list[dict[str, Any]]:
    found = []
    for path in await blobs.names(parts.folder(loop_id, table)):
        blob = await blobs.get(path)
        assert blob is not None
        found += pq.read_table(io.BytesIO(blob.data)).to_pylist()
    return found


def _time(line: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(line["Timestamp"]).timestamp()


async def check_thinned(blobs: Blobs, loop: Loop) -> int:
    """Of each hour the first version is stored, others are not, and each is to be had by its hash. How many are not."""
    held, _ = await checkpoints.load(blobs, loop.id)
    serving, _ = await registry.current(blobs, loop.id)
    assert serving is not None
    listed = await registry.listed(blobs, loop.id)
    versions = await registry.versions(blobs, loop.id)
    assert len(versions) == len(listed), "versions without a record"
    rebuilder, first, thinned = Rebuilder(blobs, Counters()), set[float](), 0
    for version in versions:
        stored = MODEL in listed[version.version]
        assert stored or (version.created // 3600 in first and version != serving), f"{version.version} was to be kept"
        thinned += not stored
        first.add(version.created // 3600)
        await rebuilder.model(loop.id, version.version, held.since, NOTHING)  # which compares the hash
    return thinned


async def check_forgotten(tables: Tables, blobs: Blobs, loop: Loop, now: float) -> int:
    """Nothing is stored of what a loop keeps no longer, but its serving version. How far back it keeps, in seconds."""
    held, _ = await checkpoints.load(blobs, loop.id)
    names = [*await blobs.names(joined.log_path(loop.id)), *await blobs.names(merged.folder(loop.id))]
    names += await blobs.names(f"loops/{loop.id}/parquet/")
    assert [name for name in names if (parsed := joined.parse(name)) and parsed[0].start < held.since] == []
    journal = [*await tables.names(f"rank{loop.id}"), *await tables.names(f"obs{loop.id}")]
    assert [table for table in journal if table[-8:] < day_of(int(now - DAY))] == []
    serving, _ = await registry.current(blobs, loop.id)
    assert serving is not None
    versions = await registry.versions(blobs, loop.id)
    # The one that ranked last, before it was succeeded, and what it takes to know that.
    assert len([one for one in versions if one.created + HOUR < held.since]) <= 2, "versions that ranked nothing"
    return int(now) - held.since
