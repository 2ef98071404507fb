"""Turns what an owner lets a loop go beyond Personalizer into bounds on its settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from shared.contract import durations
from shared.contract.errors import ApiError
from shared.contract.requests import MAX_ACTIONS, MOST_ACTIONS
from shared.loops.service import DAY, LONGEST_WAIT, SHORTEST, ServiceConfiguration, duration

MOST_WAIT = 60 * DAY
"""Seconds; past this, what waits would be kept longer than changed waits are remembered."""
LEAST_RATE, MOST_RATE = 0.01, 100_000
"""Of calls a second; a rate of less would be no call within the longest Retry-After that clients heed."""
MOST_REWARD = 1e6
"""What a loop's rewards may be bounded by; VW's 32-bit floats tell them apart well beyond that."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a loop's settings may go.

    Attributes:
        longest_reward_wait: seconds of rewardWaitTime at most; Personalizer's own bound, where nobody has changed it.
        most_actions: of a rank call; the same.
        calls_per_second: ranks, rewards and activations that one instance answers of it in the long run; 0 for any
            number.
        call_burst: how many of them may come at once.
    """

    longest_reward_wait: float = LONGEST_WAIT
    most_actions: int = MAX_ACTIONS
    calls_per_second: float = 0.0
    call_burst: int = 0


PERSONALIZERS = Limits()
"""Those of a loop whose owner has not changed them."""


def put(
    longest_reward_wait: str | None, most_actions: int | None, held: Limits, configuration: ServiceConfiguration
) -> Limits:
    """The limits that a PUT results in.

    Args:
        longest_reward_wait: a duration; None where it was left out, and keeps its value.
        most_actions: a number; the same.
        held: the limits so far.
        configuration: the loop's settings, which must keep within the new ones.

    Raises:
        ApiError: BadRequest when the duration cannot be read, InvalidRequest when one is out of range.
    """
    if most_actions is not None:
        if not 1 <= most_actions <= MOST_ACTIONS:
            message = f"mostActions must be from 1 to {MOST_ACTIONS}; it is {most_actions}."
            raise ApiError("InvalidRequest", message, "mostActions")
        held = replace(held, most_actions=most_actions)
    if longest_reward_wait is None:
        return held
    seconds = duration(longest_reward_wait, "longestRewardWait", (SHORTEST, MOST_WAIT), "InvalidRequest")
    if seconds < configuration.reward_wait_time:
        now = durations.spell(configuration.reward_wait_time)
        message = f"longestRewardWait must not be below rewardWaitTime, which is {now}: change that first."
        raise ApiError("InvalidRequest", message, "longestRewardWait")
    return replace(held, longest_reward_wait=seconds)


def put_rate(calls_per_second: float | None, call_burst: int | None, held: Limits) -> Limits:
    """The limits with the rate of calls that a PUT results in.

    Args:
        calls_per_second: what one instance is to answer; 0 for any number, None where it was left out.
        call_burst: how many may come at once; None where it was left out: then it keeps its value, or is a second's.
        held: the limits so far.

    Raises:
        ApiError: InvalidRequest when one is out of range, or there is a burst and no rate.
    """
    rate = held.calls_per_second if calls_per_second is None else calls_per_second
    if not (rate == 0 or (math.isfinite(rate) and LEAST_RATE <= rate <= MOST_RATE)):
        message = f"callsPerSecond must be from {LEAST_RATE:g} to {MOST_RATE}, or 0 for any number; it is {rate:g}."
        raise ApiError("InvalidRequest", message, "callsPerSecond")
    if call_burst is not None and not (rate and 1 <= call_burst <= MOST_RATE):
        message = f"callBurst must be from 1 to {MOST_RATE}, and there must be callsPerSecond; it is {call_burst}."
        raise ApiError("InvalidRequest", message, "callBurst")
    burst = call_burst or held.call_burst or math.ceil(rate)
    return replace(held, calls_per_second=rate, call_burst=burst if rate else 0)


def put_rewards(lowest: float | None, highest: float | None, held: tuple[float, float]) -> tuple[float, float]:
    """The reward range that a PUT results in: what is aggregated of an event counts as its nearest end, if outside.

    Args:
        lowest: its lower end; None where that was left out, and keeps its value.
        highest: its upper end; the same.
        held: the range so far.

    Raises:
        ApiError: InvalidRequest when one is out of range, or they are not in order.
    """
    ends = (held[0] if lowest is None else lowest, held[1] if highest is None else highest)
    for name, value in zip(("lowestReward", "highestReward"), ends, strict=True):
        if not (math.isfinite(value) and abs(value) <= MOST_REWARD):
            raise ApiError("InvalidRequest", f"{name} must be from {-MOST_REWARD:g} to {MOST_REWARD:g}.", name)
    if ends[0] >= ends[1]:
        message = f"lowestReward must be below highestReward; they would be {ends[0]:g} and {ends[1]:g}."
        raise ApiError("InvalidRequest", message, "lowestReward" if highest is None else "highestReward")
    return ends
