"""Turns calls on a loop's holdback into the share that is kept from its model, and into what that has shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.app import App
from shared.contract import instants
from shared.contract.decoding import decode
from shared.edge.calls import Call, Reply, reply_json
from shared.evaluation.lift import Interval, Lift, lift, mean
from shared.log import checkpoint as checkpoints
from shared.log.arms import Arms, Sums
from shared.log.checkpoint import Checkpoint
from shared.log.records import ONLINE
from shared.loops import holdback
from shared.loops.settings import Loop

_Between = Annotated[
    Interval | None, Meta(description="With 95 % confidence, if events are independent; null where not judged.")
]


class HoldbackRequest(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What share of decisions is to be held back from the model."""

    share: Annotated[
        float,
        Meta(description="Of decisions in Online mode.", extra_json_schema={"minimum": 0, "maximum": holdback.MOST}),
    ]


class ArmContract(msgspec.Struct, rename="camel"):
    """What one side has earned."""

    events: Annotated[int, Meta(description="Joined and active.")]
    average_reward: Annotated[float | None, Meta(description="Null without events.")]


class LiftContract(msgspec.Struct, rename="camel"):
    """What the model earns beyond the baseline."""

    difference: Annotated[float | None, Meta(description="Of the average rewards, model less baseline.")]
    difference_interval: _Between
    ratio: Annotated[
        float | None, Meta(description="Of the average rewards; null where the baseline's is not above 0.")
    ]
    ratio_interval: _Between
    more_events: Annotated[
        int | None, Meta(description="About how many would tell; 0 where it is told, null where nobody can say.")
    ]


class HoldbackContract(msgspec.Struct, rename="camel"):
    """The holdback, and what it has shown since its share was last changed; at share 0, what it had shown before."""

    share: Annotated[float, Meta(description="Of decisions that get the baseline and not the model's.")]
    since: Annotated[str, Meta(description="When it was last changed; the year 1 if never.")]
    baseline: Annotated[ArmContract, Meta(description="What was held back.")]
    model: Annotated[ArmContract, Meta(description="All else in that time.")]
    lift: LiftContract
    says: Annotated[str, Meta(description="Whether that says anything yet, in words.")]


async def get_holdback(app: App, call: Call) -> Reply:
    """GET rankloop/v1/holdback."""
    return await _reply(app, call.loop)


async def put_holdback(app: App, call: Call) -> Reply:
    """PUT rankloop/v1/holdback: holds for every call that begins 5 s later."""
    given = decode(call.body, HoldbackRequest)
    await app.clock.ensure()

    def change(loop: Loop) -> Loop:
        return replace(loop, holdback=holdback.put(given.share, loop.holdback, app.clock.now()))

    if change(call.loop).holdback.share:
        # First, so that instances of an earlier release, which would take what is held back for learning, stand back.
        await checkpoints.change(app.blobs, call.loop.id, _with_arms)
    return await _reply(app, await app.loops.change(call.name, change))


def _with_arms(held: Checkpoint) -> Checkpoint:
    return held if held.arms is not None else msgspec.structs.replace(held, arms=Arms())


async def _reply(app: App, loop: Loop) -> Reply:
    share, since = loop.holdback.share, loop.holdback.since
    arms = (await checkpoints.load(app.blobs, loop.id))[0].arms
    if arms is None or (share and arms.since < since):
        arms = Arms(since)  # no event of this share's time is joined yet
    found = lift(arms, share)
    return reply_json(
        HoldbackContract(
            share,
            instants.spell(since) if since else instants.UNSET,
            _arm(arms.held),
            _arm(arms.model),
            LiftContract(
                found.difference, found.difference_interval, found.ratio, found.ratio_interval, found.more_events
            ),
            _says(loop, found),
        )
    )


def _says(loop: Loop, found: Lift) -> str:
    if loop.holdback.share and loop.configuration.learning_mode != ONLINE:
        return f"Nothing is held back in {loop.configuration.learning_mode} mode, which answers the baseline to all."
    if not loop.holdback.share and found.difference is None:
        return "Nothing is held back."
    return found.says


def _arm(sums: Sums) -> ArmContract:
    return ArmContract(sums.events, mean(sums))
