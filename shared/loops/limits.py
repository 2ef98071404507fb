"""Turns what an owner lets a loop go beyond Personalizer into bounds on its settings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.contract import durations
from shared.contract.errors import ApiError
from shared.contract.requests import MAX_ACTIONS, MOST_ACTIONS
from shared.loops.service import DAY, LONGEST_WAIT, SHORTEST, ServiceConfiguration, duration

MOST_WAIT = 60 * DAY
"""Seconds; past this, what waits would be kept longer than changed waits are remembered."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a loop's settings may go.

    Attributes:
        longest_reward_wait: seconds of rewardWaitTime at most; Personalizer's own bound, where nobody has changed it.
        most_actions: of a rank call; the same.
    """

    longest_reward_wait: float = LONGEST_WAIT
    most_actions: int = MAX_ACTIONS


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
