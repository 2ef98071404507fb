"""Turns the settings that a model is shaped by into what of them has changed, in words."""

from __future__ import annotations

import msgspec

from shared.contract import durations
from shared.log.join import Rules


class Shaping(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a loop's settings say of its model, besides the policy.

    Attributes:
        rules: by which rewards become labels. The wait is among them, though a longer one brings nothing to what was
            joined before, and a shorter one takes nothing away.
        exploration: the share of decisions drawn from all actions.
        mode: the learning mode; events of another one are left out.
        retrain_days: days of log that a new model is built from; 0 for the whole log.
        imports: names of what it learns before the log; see `shared.log.imports`.
    """

    rules: Rules
    exploration: float
    mode: str
    retrain_days: int
    imports: tuple[str, ...] = ()


def _spelled(shaping: Shaping) -> dict[str, str]:
    """The settings by their names in the API, as it spells them."""
    rules = shaping.rules
    return {
        "rewardWaitTime": durations.spell(rules.wait),
        "defaultReward": f"{rules.default_reward:g}",
        "rewardAggregation": rules.aggregation,
        "rewardRange": "{:g} to {:g}".format(*rules.reward_range),
        "explorationPercentage": f"{shaping.exploration:g}",
        "learningMode": shaping.mode,
        "modelRetrainDays": str(shaping.retrain_days),
        "imports": ", ".join(shaping.imports) or "none",
    }


def cause(before: Shaping | None, after: Shaping | None, policy_before: str, policy_after: str) -> str:
    """Why a model of the settings before is no model of those of now, in words for people.

    Args:
        before: the settings that it was made with; None where a release made it that kept none.
        after: those of now.
        policy_before: the options that it was made with, less epsilon.
        policy_after: those of now.
    """
    old, new = (_spelled(one) if one else {} for one in (before, after))
    changes = [
        f"{name} changed from {old[name]} to {new[name]}" for name in old if new.get(name, old[name]) != old[name]
    ]
    if policy_before != policy_after:
        changes.insert(0, f"the policy changed from {policy_before} to {policy_after}")
    return "; ".join(changes)
