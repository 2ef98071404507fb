"""Turns a policy from outside into a loop's own, once Vowpal Wabbit was seen to live through it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace

from shared.contract.errors import ApiError
from shared.learning import trial
from shared.learning.trial import Trial
from shared.loops import policy
from shared.loops.loops import Loops
from shared.loops.policy import DEFAULT_EPSILON, Policy, Problem
from shared.loops.settings import Loop


async def tried(trying: AbstractAsyncContextManager[None], loop: Loop, arguments: str) -> Policy:
    """The policy of these arguments, tried as `refusals` has it.

    Raises:
        ApiError: InvalidPolicyConfiguration: they name what is not allowed, or VW cannot work with them; or
            OperationNotAllowed, where `trying` has no place.
    """
    learned = policy.read(arguments)
    for refusal in filter(None, await refusals(trying, loop, [learned])):
        raise refusal
    return learned


async def refusals(
    trying: AbstractAsyncContextManager[None], loop: Loop, given: Sequence[Policy]
) -> list[ApiError | None]:
    """Of each policy why VW cannot work with it, InvalidPolicyConfiguration, or None; tried in a process of its own.

    Args:
        trying: held meanwhile, so that there is one such process at a time: a lock, or a `turn` at it for a caller.
        loop: whose rewards they are to learn.
        given: whose arguments hold nothing that is not allowed.
    """
    if not given:
        return []
    rewards = loop.configuration.reward_range
    trials = [
        Trial(
            one.within(rewards).training,
            one.resuming,
            one.serving(DEFAULT_EPSILON),
            one.problem is Problem.MULTI_SLOT,
        )
        for one in given
    ]
    async with trying:
        found = await trial.verdicts(trials)
    return [_refusal(verdict.problem) if verdict.problem else None for verdict in found]


def _refusal(problem: str) -> ApiError:
    message = f"arguments: Vowpal Wabbit cannot work with them: {problem}"
    return ApiError("InvalidPolicyConfiguration", message[:500], "arguments")


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
        trying: see `refusals`; nobody waits for an adoption, so it waits as long as it takes.
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
