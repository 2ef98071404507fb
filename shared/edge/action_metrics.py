"""Turns what a loop's actions have earned, by hour or day, into the numbers of charts (docs/adr/0036)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from shared.app import App
from shared.contract import instants
from shared.edge.calls import Call, Reply, reply_json
from shared.edge.metrics import Steps, steps_of
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.log.day import DAY, ActionDay
from shared.log.minutes import HOUR, OTHERS
from shared.log.series import completed

STEPS = (HOUR, DAY)
MOST_POINTS = 93 * 24
"""Of an answer: three months of hours."""
MOST_ACTIONS = 50
_USUAL = float(DAY)


class ActionSeries(msgspec.Struct):
    """What some actions have earned, one number a step."""

    events: Annotated[list[int], Meta(description="Decisions that they were answered to, without a holdback's.")]
    rewards: Annotated[list[float], Meta(description="The sum of what those earned.")]
    squares: Annotated[list[float], Meta(description="The sum of its squares.")]


class OneAction(ActionSeries):
    """An action's."""

    id: str


class ActionsContract(msgspec.Struct):
    """What the actions have earned over time. Those that different people see do not compare."""

    start: Annotated[str, Meta(description="Of the first step.", examples=["2026-01-31T00:00:00Z"])]
    step: Annotated[int, Meta(description="Seconds.")]
    count: Annotated[int, Meta(description="How many steps there are.")]
    actions: Annotated[list[OneAction], Meta(description=f"Those with the most events, {MOST_ACTIONS} at most.")]
    others: Annotated[ActionSeries, Meta(description="All others.")]
    distinct: Annotated[
        int, Meta(description="Actions that were told apart: of any hour, the 200 with the most events.")
    ]


async def get_action_metrics(app: App, call: Call) -> Reply:
    """GET rankloop/v1/metrics/actions."""
    await app.clock.ensure()
    steps = steps_of(call.query, app.clock.now(), STEPS, _USUAL, MOST_POINTS)
    checkpoint, _ = await checkpoints.load(app.blobs, call.loop.id)
    days = await app.series.read(ActionDay, call.loop.id, steps.days)
    return reply_json(await asyncio.to_thread(_told, days, checkpoint, steps))


def _told(days: Sequence[ActionDay], checkpoint: Checkpoint, steps: Steps) -> ActionsContract:
    found: defaultdict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros((3, steps.count)))
    for day in days:
        for hour, of in completed(day, checkpoint.ahead, checkpoint.cleared).hours.items():
            if steps.start <= hour < steps.end:
                for name, earned in of.items():
                    found[name][:, (hour - steps.start) // steps.step] += earned
    others = found.pop(OTHERS, np.zeros((3, steps.count)))
    ranking = sorted(found, key=lambda name: (-found[name][0].sum(), name))
    for name in ranking[MOST_ACTIONS:]:
        others = others + found[name]
    told = [OneAction(*_lists(found[name]), name) for name in ranking[:MOST_ACTIONS]]
    rest = ActionSeries(*_lists(others))
    return ActionsContract(instants.spell(steps.start), steps.step, steps.count, told, rest, len(found))


def _lists(sums: NDArray[np.float64]) -> tuple[list[int], list[float], list[float]]:
    return sums[0].astype(int).tolist(), sums[1].tolist(), sums[2].tolist()
