"""Turns a policy from outside into a loop's own, once Vowpal Wabbit was seen to live through it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from shared.contract.errors import ApiError
from shared.learning import trial
from shared.learning.model import ModelError
from shared.loops import policy
from shared.loops.loops import Loops
from shared.loops.policy import DEFAULT_EPSILON, Policy, Problem
from shared.loops.settings import Loop


async def tried(trying: asyncio.Lock, loop: Loop, arguments: str) -> Policy:
    """The policy of these arguments, tried in a process of its own.

    Args:
        trying: held meanwhile, so that there is one such process at a time.
        loop: whose rewards it is to learn.
        arguments: from outside.

    Raises:
        ApiError: InvalidPolicyConfiguration: they name what is not allowed, or VW cannot work with them.
    """
    learned = policy.read(arguments)
    training = learned.within(loop.configuration.reward_range).training
    multi_slot = learned.problem is Problem.MULTI_SLOT
    try:
        async with trying:
            await trial.run(training, learned.resuming, learned.serving(DEFAULT_EPSILON), multi_slot)
    except ModelError as e:
        message = f"arguments: Vowpal Wabbit cannot work with them: {e}"
        raise ApiError("InvalidPolicyConfiguration", message[:500], "arguments") from e
    return learned


def with_policy(loop: Loop, learned: Policy) -> Loop:
    """The loop with another policy, whose epsilon is the exploration percentage from now on.

    Raises:
        ApiError: ProblemTypeIncompatibleWithAutoOptimization.
    """
    configuration = loop.configuration
    if learned.epsilon is not None:
        configuration = replace(configuration, exploration_percentage=learned.epsilon)
    changed = replace(loop, policy=learned, configuration=configuration)
    if changed.multi_slot and configuration.is_auto_optimization_enabled:
        message = "A multi-slot policy needs isAutoOptimizationEnabled to be false: change that first."
        raise ApiError("ProblemTypeIncompatibleWithAutoOptimization", message, "arguments")
    return changed


class Adoption:
    """Adopts policies that auto-optimization has found.

    Args:
        loops: have the settings.
        trying: see `tried`.
    """

    def __init__(self, loops: Loops, trying: asyncio.Lock) -> None:
        self._loops = loops
        self._trying = trying

    async def __call__(self, loop_id: str, before: str, arguments: str) -> bool:
        """Make a policy a loop's, where that has none but the one before; returns whether it is then.

        Args:
            loop_id: the loop.
            before: the arguments that the policy was found to be better than.
            arguments: its own.
        """
        names = [name for name, held in (await self._loops.ids()).items() if held == loop_id]
        if not names:
            return False
        loop = await self._loops.by_id(loop_id)
        with suppress(ApiError):
            learned = await tried(self._trying, loop, arguments)
            changed = await self._loops.change(names[0], lambda held: _replaced(held, before, learned))
            return changed.policy == learned
        return False


def _replaced(held: Loop, before: str, learned: Policy) -> Loop:
    stays = held.policy.arguments != before or not held.configuration.is_auto_optimization_enabled
    return held if stays else with_policy(held, learned)
