"""Turns what was examined of a loop's log into one blob of bounded size, moved by compare-and-swap.

Of two tallies the latest grows, until it covers a day and enough events; then it takes the place of the one before.
So findings are of the last day or two, or of what a quiet loop needs to tell anything.
"""

from __future__ import annotations

import msgspec

from shared.health import tally
from shared.health.tally import Tally
from shared.storage import Blobs, documents

HOUR, DAY = 3600, 86_400
ENOUGH = 5_000
"""Events that a tally must hold before another one takes its place."""


class Totals(msgspec.Struct, frozen=True):
    """What the join and the hours have counted since a loop began; see `Checkpoint` and `hours.Progress`."""

    joined: int = 0
    repeated: int = 0
    answered: int = 0
    late: int = 0
    unknown: int = 0


class Rewards(msgspec.Struct, frozen=True, array_like=True):
    """The rewards of an hour's examined events: how many, their sum, and that of their squares."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, other: Rewards) -> Rewards:
        """Those of both."""
        return Rewards(self.n + other.n, self.total + other.total, self.squares + other.squares)


class Standing(msgspec.Struct, frozen=True):
    """How far learning was, whatever served, and when it was first seen to be no farther while more was joined."""

    trained_through: int = 0
    since: float = 0.0


class Examined(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was examined of a loop.

    Attributes:
        at: when it was last, in seconds since the epoch.
        through: every window before it was examined, or was passed over.
        generation: of the log as it was examined; an erasure begins another one, and then this counts no more.
        totals: as they were then.
        standing: see there; None where learning had taken in all that was joined.
        before, latest: the tallies.
        hours: the rewards of the last two days by hour.
        format: of this record.
    """

    at: float = 0.0
    through: int = 0
    generation: int = 0
    totals: Totals = Totals()
    standing: Standing | None = None
    before: Tally = Tally()
    latest: Tally = Tally()
    hours: dict[int, Rewards] = {}
    format: int = documents.FORMAT

    @property
    def whole(self) -> Tally:
        """Both tallies as one."""
        return tally.merge(self.before, self.latest)

    def of(self, generation: int) -> Examined:
        """The same; nothing where the log is of another generation by now, since it may be of what was erased."""
        return self if self.generation == generation else Examined()

    def with_window(self, found: Tally) -> Examined:
        """The same with the tally of one more window."""
        before, latest = self.before, self.latest
        if latest.end - latest.start >= DAY and latest.events >= ENOUGH:
            before, latest = latest, Tally()
        hour = found.start // HOUR * HOUR
        hours = {start: held for start, held in self.hours.items() if start > hour - 2 * DAY}
        new = Rewards(found.settled, found.reward, found.squares)
        hours[hour] = hours.get(hour, Rewards()).plus(new)
        return msgspec.structs.replace(
            self, before=before, latest=tally.merge(latest, found), hours=hours, through=found.end
        )

    def with_totals(self, totals: Totals) -> Examined:
        """The same with what was counted since the totals before."""
        grown = {name: max(0, getattr(totals, name) - getattr(self.totals, name)) for name in Totals.__struct_fields__}
        latest = self.latest
        if latest.end:
            latest = msgspec.structs.replace(
                latest, **{name: getattr(latest, name) + more for name, more in grown.items()}
            )
        return msgspec.structs.replace(self, latest=latest, totals=totals)

    def less(self, since: int, generation: int) -> Examined:
        """The same without what is deleted or erased meanwhile.

        Args:
            since: what the log held before it is deleted.
            generation: of the log.
        """
        if self.generation != generation:
            return Examined(at=self.at, generation=generation, totals=self.totals, standing=self.standing)
        kept = {
            name: Tally() for name, held in (("before", self.before), ("latest", self.latest)) if held.start < since
        }
        hours = {start: held for start, held in self.hours.items() if start + HOUR > since}
        return msgspec.structs.replace(self, **kept, hours=hours)


def path(loop_id: str) -> str:
    """The blob of what was examined."""
    return f"loops/{loop_id}/examined.json"


async def load(blobs: Blobs, loop_id: str) -> tuple[Examined, str | None]:
    """What was examined of a loop, and the state of that; nothing yet, and None, where there is none.

    Raises:
        StorageError: it is damaged or of a later release, or storage does not answer.
    """
    blob = await blobs.get(path(loop_id))
    if blob is None:
        return Examined(), None
    return documents.decode(blob.data, Examined, path(loop_id)), blob.etag


async def save(blobs: Blobs, loop_id: str, examined: Examined, etag: str | None) -> None:
    """Move what was examined on from the state that `etag` names.

    Raises:
        Conflict: somebody else has moved it.
    """
    await blobs.put(path(loop_id), msgspec.json.encode(examined), etag)


async def forget(blobs: Blobs, loop_id: str, generation: int) -> int:
    """Delete what was examined of a log that an erasure has replaced: names and hashes may be of what was erased.

    Args:
        blobs: hold it.
        loop_id: the loop.
        generation: of the log as it is.

    Returns:
        Before when every window was examined as it is now, or was passed over.
    """
    held, etag = await load(blobs, loop_id)
    if etag is not None and held.generation < generation:
        held = Examined(at=held.at, generation=generation, totals=held.totals, standing=held.standing)
        await save(blobs, loop_id, held, etag)
    return held.through
