"""Turns calls on a loop's limits into what its owner lets it do beyond Personalizer (docs/adr/0017, 0026)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.app import App
from shared.contract import durations
from shared.contract.decoding import decode
from shared.contract.requests import MOST_ACTIONS
from shared.edge.calls import Call, Reply, reply_json
from shared.loops import limits
from shared.loops.settings import Loop


class LimitsContract(msgspec.Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """How far a loop's settings may go. What a PUT leaves out keeps its value."""

    longest_reward_wait: Annotated[
        str | None,
        Meta(
            description="The longest rewardWaitTime; 5 s to 60 days, 2 days where nobody has changed it.",
            extra_json_schema={"format": "duration"},
            examples=["P60D"],
        ),
    ] = None
    most_actions: Annotated[
        int | None,
        Meta(
            description="The most actions of a rank call; 1 to 1000, 50 where nobody has changed it.",
            extra_json_schema={"minimum": 1, "maximum": MOST_ACTIONS},
            examples=[200],
        ),
    ] = None
    lowest_reward: Annotated[
        float | None,
        Meta(
            description="What an event earns in learning at least, -1 where nobody has changed it. The log keeps what "
            "was sent. A change makes a new model from the log.",
            examples=[-1.0],
        ),
    ] = None
    highest_reward: Annotated[
        float | None,
        Meta(description="What it earns in learning at most, 1 where nobody has changed it.", examples=[1.0]),
    ] = None

    calls_per_second: Annotated[
        float | None,
        Meta(
            description="Ranks, rewards and activations that each instance answers of the loop in a second, 0.01 to "
            "100000; more get 429. 0, or left out of an answer: any number.",
            extra_json_schema={"minimum": 0, "maximum": limits.MOST_RATE},
            examples=[100.0],
        ),
    ] = None
    call_burst: Annotated[
        int | None,
        Meta(
            description="How many of them may come at once; as many as in a second where nobody has said.",
            extra_json_schema={"minimum": 1, "maximum": limits.MOST_RATE},
            examples=[200],
        ),
    ] = None


async def get_limits(app: App, call: Call) -> Reply:
    """GET rankloop/v1/limits."""
    return _reply(call.loop)


async def put_limits(app: App, call: Call) -> Reply:
    """PUT rankloop/v1/limits: for owners alone, since what waits long costs storage, and many actions cost time."""
    given = decode(call.body, LimitsContract)

    def change(loop: Loop) -> Loop:
        configuration = loop.configuration
        held = limits.put(given.longest_reward_wait, given.most_actions, loop.limits, configuration)
        held = limits.put_rate(given.calls_per_second, given.call_burst, held)
        rewards = limits.put_rewards(given.lowest_reward, given.highest_reward, configuration.reward_range)
        return replace(loop, limits=held, configuration=replace(configuration, reward_range=rewards))

    return _reply(await app.loops.change(call.name, change))


def _reply(loop: Loop) -> Reply:
    wait = durations.spell(loop.limits.longest_reward_wait)
    lowest, highest = loop.configuration.reward_range
    rate, burst = loop.limits.calls_per_second or None, loop.limits.call_burst or None
    return reply_json(LimitsContract(wait, loop.limits.most_actions, lowest, highest, rate, burst))
