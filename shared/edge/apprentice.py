"""Turns what the join has counted of Apprentice mode into the API's metrics of it (contract 3.1, 5.4)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from shared.app import App
from shared.contract import instants
from shared.contract.configurations import ApprenticeModeMetrics, BatchMetrics
from shared.contract.errors import ApiError
from shared.edge.calls import Call, Reply, reply_json
from shared.evaluation.apprentice import achievement, average
from shared.log import checkpoint as checkpoints
from shared.log.apprentice import Apprenticeship, Totals
from shared.log.records import APPRENTICE
from shared.loops.settings import Loop


class LatestContract(msgspec.Struct, rename="camel"):
    """The latest 1,000 events of Apprentice mode, or all of them while they are fewer."""

    events: int
    imitated_events: Annotated[int, Meta(description="In which Personalizer's draw was the baseline.")]
    reward_achievement_ratio: Annotated[
        float | None, Meta(description="Of what they earned; null where that does not come to more than zero.")
    ]


class ApprenticeContract(msgspec.Struct, rename="camel"):
    """How well the loop would have done in Apprentice mode, since it was last turned to it."""

    start_time: Annotated[str, Meta(description="When that was; the year 1 where it was not written down.")]
    last_processed_event_time: Annotated[str, Meta(description="Of the latest event; the year 1 before the first.")]
    events: Annotated[int, Meta(description="Joined and active.")]
    imitated_events: Annotated[int, Meta(description="In which Personalizer's draw was the baseline.")]
    baseline_average_reward: Annotated[float | None, Meta(description="Null without events.")]
    personalizer_average_reward: Annotated[
        float | None, Meta(description="Counting a reward only where Personalizer's draw was the baseline.")
    ]
    latest: LatestContract
    says: Annotated[str, Meta(description="Whether to switch to Online mode, in words.")]


async def get_apprentice(app: App, call: Call) -> Reply:
    """GET rankloop/v1/apprentice."""
    found = await _apprenticeship(app, call.loop)
    if found is None:
        message = "There are no such metrics: learningMode of this loop was never Apprentice."
        raise ApiError("ApprenticeModeNeverTurnedOn", message)
    totals, latest = found.totals, found.batch()
    judged = achievement(latest)
    return reply_json(
        ApprenticeContract(
            _spell(found.start),
            _spell(found.last),
            totals.events,
            totals.imitated,
            average(totals, totals.rewards),
            average(totals, totals.imitated_rewards),
            LatestContract(latest.events, latest.imitated, judged.ratio),
            judged.says,
        )
    )


async def metrics(app: App, loop: Loop) -> ApprenticeModeMetrics | None:
    """The loop's `latestApprenticeModeMetrics`, or None where it never was in Apprentice mode.

    Raises:
        StorageError: storage does not answer.
    """
    found = await _apprenticeship(app, loop)
    if found is None:
        return None
    totals, last = found.totals, BatchMetrics(*_numbers(found.batch()))
    return ApprenticeModeMetrics(*_numbers(totals), _spell(found.start), _spell(found.last), last)


async def _apprenticeship(app: App, loop: Loop) -> Apprenticeship | None:
    """What the join has counted since the loop was last turned to Apprentice mode, if it ever was."""
    began = loop.apprentice
    if began is None:
        if loop.configuration.learning_mode != APPRENTICE:
            return None
        began = 0.0
    found = (await checkpoints.load(app.blobs, loop.id))[0].apprentice
    # Until the first of its events is joined, what was counted is that of the time before.
    return found if found is not None and found.start >= began else Apprenticeship(began, 0.0, Totals(), b"")


def _numbers(totals: Totals) -> tuple[int, int, float, float]:
    return totals.events, totals.imitated, totals.rewards, totals.imitated_rewards


def _spell(time: float) -> str:
    return instants.spell(time) if time else instants.UNSET
