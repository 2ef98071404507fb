"""Turns what an owner lets a loop go beyond Personalizer into bounds on its settings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.contract import durations
from shared.contract.errors import ApiError
from shared.loops.service import DAY, LONGEST_WAIT, SHORTEST, ServiceConfiguration, duration

MOST_WAIT = 60 * DAY
"""Seconds; past this, what waits would be kept longer than changed waits are remembered."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a loop's settings may go.

    Attributes:
        longest_reward_wait: seconds of rewardWaitTime at most; Personalizer's own bound, where nobody has changed it.
    """

    longest_reward_wait: float = LONGEST_WAIT


PERSONALIZERS = Limits()
"""Those of a loop whose owner has not changed them."""


def put(longest_reward_wait: str | None, held: Limits, configuration: ServiceConfiguration) -> Limits:
    """The limits that a PUT results in.

    Args:
        longest_reward_wait: a duration; None where it was left out, and keeps its value.
        held: the limits so far.
        configuration: the loop's settings, which must keep within the new ones.

    Raises:
        ApiError: BadRequest when the duration cannot be read, InvalidRequest when it is out of range.
    """
    if longest_reward_wait is None:
        return held
    seconds = duration(longest_reward_wait, "longestRewardWait", (SHORTEST, MOST_WAIT), "InvalidRequest")
    if seconds < configuration.reward_wait_time:
        now = durations.spell(configuration.reward_wait_time)
        message = f"longestRewardWait must not be below rewardWaitTime, which is {now}: change that first."
        raise ApiError("InvalidRequest", message, "longestRewardWait")
    return replace(held, longest_reward_wait=seconds)
