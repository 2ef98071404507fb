"""Turns what came of Apprentice mode into how near the loop is to the application, and when to let it act."""

from __future__ import annotations

from dataclasses import dataclass

from shared.log.apprentice import BATCH, Totals

ENOUGH, PLENTY = 0.6, 0.8
"""Ratios between which Personalizer's documentation advises to switch to Online mode (contract 5.4)."""


@dataclass(frozen=True, slots=True)
class Achievement:
    """How near the loop is.

    Attributes:
        ratio: of the rewards that the loop would have shared in to those of the baseline; None where these are not
            above zero.
        says: what to do, in a sentence for people.
    """

    ratio: float | None
    says: str


def average(totals: Totals, rewards: float) -> float | None:
    """Rewards by event, or None where there is no event."""
    return rewards / totals.events if totals.events else None


def achievement(latest: Totals) -> Achievement:
    """Judge the latest events of an apprenticeship."""
    ratio = latest.imitated_rewards / latest.rewards if latest.rewards > 0 else None
    if latest.events < BATCH:
        return Achievement(ratio, f"Wait: {latest.events} of the {BATCH} events that it is judged by are joined.")
    if ratio is None:
        return Achievement(None, "It cannot be judged: the baseline's rewards do not come to more than zero.")
    reached = f"it achieves {ratio:.1%} of the baseline's reward over the latest {BATCH} events"
    if ratio < ENOUGH:
        return Achievement(ratio, f"Stay in Apprentice mode: {reached}. Switch to Online between 60 and 80 %.")
    if ratio < PLENTY:
        return Achievement(ratio, f"It may be switched to Online mode: {reached}, which is between 60 and 80 %.")
    return Achievement(ratio, f"Switch to Online mode: {reached}, and 60 to 80 % are enough.")
