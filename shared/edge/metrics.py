"""Turns the sums of a loop's minutes and days, and its calls, into the numbers of charts (docs/adr/0036).

A step is answered for every minute, five minutes, hour or day of the time that is asked for, in columns. It takes one
read a day, two for the calls that no day has yet, and one for how far the join is; never the log.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import orjson
from msgspec import Meta
from numpy.typing import NDArray

from shared.app import App
from shared.contract import instants
from shared.contract.errors import ApiError
from shared.edge.calls import Call, Reply
from shared.log import answers
from shared.log import checkpoint as checkpoints
from shared.log.answers import KINDS, OUTCOMES
from shared.log.checkpoint import Checkpoint
from shared.log.day import DAY, MinuteDay, is_count
from shared.log.series import KEPT, completed

STEPS = (60, 300, 3600, DAY)
MOST_POINTS = 31 * 1440
"""Of an answer: a month of minutes."""
_AT_ONCE = 32
"""Days that are held in memory by the minute: 10 MB of them."""
_PLAIN = 8192
"""Bytes of an answer that is not worth to be compressed."""
_Sums = dict[str, NDArray[np.float64]]
_VARIES: Final = {"Vary": "Accept-Encoding"}
_USUAL = 7200.0
"""Seconds that are told where nobody says since when."""

MEASURES: Final = {
    "events": "Decisions that were joined and are active, without those of a holdback; each slot counts as one.",
    "rewards": "The sum of what they earned.",
    "squares": "The sum of its squares.",
    "rewarded": "Those that got a reward, and not the default one.",
    "baseline": "The sum of w r, where w is one over the probability of a draw that was the baseline's, else 0.",
    "baselineWeights": "The sum of w. What is answered without the model has w = 1.",
    "baselineSquares": "The sum of (w r)².",
    "baselineWeightSquares": "The sum of w².",
    "baselineCross": "The sum of w² r.",
    "held": "Decisions that were held back from the model.",
    "heldRewards": "The sum of what they earned.",
    "heldSquares": "The sum of its squares.",
    "apprentice": "Those of the events that were decided in Apprentice mode.",
    "apprenticeRewards": "The sum of what they earned.",
    "imitated": "Those of them in which the draw was the baseline.",
    "imitatedRewards": "The sum of what those earned.",
    "explorationAsked": "The sum of the probabilities that not the best-scored action would be drawn.",
    "explored": "Events in which another than the best-scored action was drawn.",
    "lateRewards": "Rewards that came after their event's wait, known once the hour is closed.",
    "unknownRewards": "Rewards of no event that was ranked in the day before their wait, likewise.",
    "repeatedEvents": "Ranks that repeat one of the two minutes before under its id: not learned.",
    "inactiveEvents": "Events that were never activated, though they waited for it.",
    "emptySlots": "Slots for which earlier ones had left no action.",
}
"""What is told of each step, and what it is."""

MinuteSeries = msgspec.defstruct(
    "MinuteSeries",
    [
        (name, Annotated[list[int] if is_count(name) else list[float], Meta(description=text)])
        for name, text in MEASURES.items()
    ],
)
"""The measures, one number a step."""


class CallSeries(msgspec.Struct):
    """The calls of a kind by what they were answered, one number a step."""

    ok: Annotated[list[int], Meta(description="Done.")]
    refused: Annotated[list[int], Meta(description="Refused, but for those that are limited (4xx).")]
    limited: Annotated[list[int], Meta(description="Turned away to be repeated (429, 503).")]
    failed: Annotated[list[int], Meta(description="Failed (500 and more).")]


_Instant = Annotated[str, Meta(examples=["2026-01-31T00:00:00Z"])]


class MetricsContract(msgspec.Struct):
    """What came of a loop over time."""

    start: Annotated[_Instant, Meta(description="Of the first step.")]
    step: Annotated[int, Meta(description="Seconds.")]
    count: Annotated[int, Meta(description="How many steps there are.")]
    through: Annotated[
        _Instant | None,
        Meta(description="Until when events are joined; null before the first. Later steps are not complete."),
    ]
    series: MinuteSeries  # type: ignore[valid-type]
    calls: Annotated[
        dict[str, CallSeries], Meta(description="By kind: rank, reward, activate; in the minute of the answer.")
    ]


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a time.

    Attributes:
        start: of the first one, in seconds since the epoch; a multiple of `step`.
        step: seconds.
        count: how many there are.
    """

    start: int
    step: int
    count: int

    @property
    def end(self) -> int:
        """Of the last one."""
        return self.start + self.step * self.count

    @property
    def days(self) -> range:
        """The days that they touch, by their start."""
        return range(self.start // DAY * DAY, self.end, DAY)


async def get_metrics(app: App, call: Call) -> Reply:
    """GET rankloop/v1/metrics."""
    await app.clock.ensure()
    now = app.clock.now()
    steps = steps_of(call.query, now, STEPS, _USUAL, MOST_POINTS)
    checkpoint, _ = await checkpoints.load(app.blobs, call.loop.id)
    sums: list[_Sums] = []
    for n in range(0, len(steps.days), _AT_ONCE):
        days = await app.series.read(MinuteDay, call.loop.id, steps.days[n : n + _AT_ONCE])
        for day in days:
            await _count_calls(app, call.loop.id, day, steps, now)
        sums += await asyncio.to_thread(_summed, days, checkpoint, steps.step)
    body = await asyncio.to_thread(_told, sums, checkpoint, steps)
    if len(body) < _PLAIN or "gzip" not in call.headers.get("accept-encoding", ""):
        return Reply(200, body, _VARIES)
    packed = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
    return Reply(200, packed, {**_VARIES, "Content-Encoding": "gzip"})


def steps_of(query: Mapping[str, str], now: float, allowed: Sequence[int], usual: float, most: int) -> Steps:
    """The steps that a query asks for.

    Args:
        query: may have from, to and step.
        now: in seconds since the epoch.
        allowed: steps; the first one is the usual one.
        usual: seconds before the end at which they begin where the query does not say.
        most: how many there may be.

    Raises:
        ApiError: InvalidRequest.
    """
    text = query.get("step", str(allowed[0]))
    if text not in map(str, allowed):
        message = f"step must be one of {', '.join(map(str, allowed))} (seconds); it is {text[:64]!r}."
        raise ApiError("InvalidRequest", message, "step")
    step = int(text)
    end = _instant(query, "to", now)
    start = int(_instant(query, "from", end - usual) // step * step)
    if end <= start:
        raise ApiError("InvalidRequest", "from must be before to.", "from")
    count = -int(-(end - start) // step)
    if count > most or count * step > KEPT:
        message = (
            f"from and to must be {most} steps and {KEPT // DAY} days apart at most; they are {count} steps apart."
        )
        raise ApiError("InvalidRequest", message, "from")
    return Steps(start, step, count)


def _instant(query: Mapping[str, str], name: str, usual: float) -> float:
    text = query.get(name)
    if text is None:
        return usual
    try:
        return instants.parse(text)
    except ValueError as e:
        raise ApiError("InvalidRequest", f"{name}: {e}.", name) from e


async def _count_calls(app: App, loop_id: str, day: MinuteDay, steps: Steps, now: float) -> None:
    """Add to a day the calls that it has not yet; they are in tables of their own for as long."""
    first, last = max(day.start, day.calls, steps.start), min(day.start + DAY, steps.end)
    if first < last and day.start > now - 2 * DAY:
        async for minute, counts in answers.counted(app.tables, loop_id, first, last):
            for name, n in counts.items():
                day.count(name, minute, n)


def _summed(days: Sequence[MinuteDay], checkpoint: Checkpoint, step: int) -> list[_Sums]:
    """Of each day the sums of its steps, by name; `step` divides a day."""
    whole = [completed(day, checkpoint.ahead, checkpoint.cleared) for day in days]
    return [{name: held.reshape(DAY // step, -1).sum(axis=1) for name, held in day.columns.items()} for day in whole]


def _told(sums: Sequence[_Sums], checkpoint: Checkpoint, steps: Steps) -> bytes:
    nothing, first = np.zeros(DAY // steps.step), (steps.start - steps.days[0]) // steps.step

    def column(name: str) -> NDArray[Any]:
        found = np.concatenate([day.get(name, nothing) for day in sums])[first : first + steps.count]
        return found.round().astype(np.int64) if is_count(name) else found.astype(np.float32)

    return orjson.dumps(
        {
            "start": instants.spell(steps.start),
            "step": steps.step,
            "count": steps.count,
            "through": instants.spell(checkpoint.watermark) if checkpoint.watermark else None,
            "series": {name: column(name) for name in MEASURES},
            "calls": {kind: {name: column(f"{kind}.{name}") for name in OUTCOMES} for kind in KINDS},
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
