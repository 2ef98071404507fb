"""How often the intervals of an evaluation hold the truth, over simulated logs of policies whose worth is known.

Each is for a policy that is fixed, whatever the log shows. A 95 % interval that is right holds it 95 times in 100.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.estimators import Estimate, Estimates, estimate
from shared.evaluation.scores import Scores

LOGS = 1000
EVENTS = 10_000
CONTEXTS, ACTIONS = 6, 5
ESTIMATORS: Final[dict[str, Callable[[Estimates], Estimate]]] = {
    "IPS": lambda found: found.ips,
    "SNIPS": lambda found: found.snips,
    "DR": lambda found: found.dr,
    "conservative": lambda found: found.conservative,
}

Numbers = NDArray[np.float64]


def explored(best: NDArray[np.intp], epsilon: float) -> Numbers:
    """The distribution of an epsilon-greedy policy in each context, which holds that action for the best."""
    distribution = np.full((CONTEXTS, ACTIONS), epsilon / ACTIONS)
    distribution[np.arange(CONTEXTS), best] += 1 - epsilon
    return distribution


@dataclass(frozen=True)
class Situation:
    """A world, who decided in it, and whose worth is asked for.

    Attributes:
        name: for people.
        logged: the distribution of the policy that decides, contexts x actions.
        target: that of the policy that is evaluated.
        wins: the probability of a reward of 1, contexts x actions.
        losses: the probability of a reward of -1; all else earns 0.
        slots: how many decisions an event has: all in its context, and of the same fortune.
    """

    name: str
    logged: Numbers
    target: Numbers
    wins: Numbers
    losses: Numbers = field(default_factory=lambda: np.zeros((CONTEXTS, ACTIONS)))
    slots: int = 1

    @property
    def worth(self) -> float:
        """What the target policy earns a decision. All contexts are as frequent."""
        return float((self.target * (self.wins - self.losses)).sum(axis=1).mean())

    def log(self, events: int, chance: np.random.Generator) -> Scores:
        """The scores of a log that was drawn anew."""
        contexts = np.repeat(chance.integers(CONTEXTS, size=events), self.slots)
        fortune = np.repeat(chance.random(events), self.slots)
        bounds = self.logged.cumsum(axis=1)[contexts]
        drawn = np.minimum((chance.random(len(contexts))[:, None] > bounds).sum(axis=1), ACTIONS - 1)
        wins, losses = self.wins[contexts, drawn], self.losses[contexts, drawn]
        rewards = np.where(fortune < wins, 1.0, np.where(fortune > 1 - losses, -1.0, 0.0))
        expected = _progressive(contexts, drawn, rewards)
        return Scores(
            times=np.repeat(np.arange(events, dtype=np.float64), self.slots),
            places=(places := np.tile(np.arange(self.slots, dtype=np.int16), events)),
            slots=places,
            logged=self.logged[contexts, drawn],
            targets=self.target[contexts, drawn],
            rewards=rewards,
            modelled=expected[np.arange(len(drawn)), drawn],
            values=(expected * self.target[contexts]).sum(axis=1),
        )


def _progressive(contexts: NDArray[np.intp], drawn: NDArray[np.intp], rewards: Numbers) -> Numbers:
    """What a model of rewards expects of each action: its mean so far in this context, or 0. Decisions x actions."""
    expected = np.empty((len(drawn), ACTIONS))
    for context in range(CONTEXTS):
        rows = np.flatnonzero(contexts == context)
        hits = drawn[rows, None] == np.arange(ACTIONS)
        earned = hits * rewards[rows, None]
        hits_before, earned_before = hits.cumsum(axis=0) - hits, earned.cumsum(axis=0) - earned
        expected[rows] = earned_before / np.maximum(hits_before, 1)
    return expected


BEST = np.arange(CONTEXTS) % ACTIONS
OTHER = (BEST + 1) % ACTIONS
PARTLY = np.where(np.arange(CONTEXTS) < 2, OTHER, BEST)
OFTEN = 0.1 + 0.5 * ((np.arange(CONTEXTS)[:, None] * 3 + np.arange(ACTIONS) * 2) % 7) / 6
"""Rewards that differ by context and action: 0.1 to 0.6."""
SITUATIONS = (
    Situation("another best action in a third of contexts", explored(BEST, 0.2), explored(PARTLY, 0.2), OFTEN),
    Situation("another everywhere, without exploration", explored(BEST, 0.2), explored(OTHER, 0.0), OFTEN),
    Situation("the same, mostly rewarded", explored(BEST, 0.2), explored(OTHER, 0.0), 1 - OFTEN / 2),
    Situation("rewards from -1 to 1", explored(BEST, 0.2), explored(PARTLY, 0.2), OFTEN, OFTEN[::-1] / 2),
    Situation("three slots of one fortune", explored(BEST, 0.2), explored(PARTLY, 0.2), OFTEN, slots=3),
    Situation("rare rewards", explored(BEST, 0.2), explored(PARTLY, 0.2), OFTEN / 100),
    Situation("heavy weights", explored(BEST, 0.01), explored(OTHER, 0.0), OFTEN),
)


@dataclass(frozen=True)
class Coverage:
    """What became of a situation's logs.

    Attributes:
        held: by estimator, the share of logs whose interval holds the truth.
        width: by estimator, the mean half width.
        effective: the mean effective sample.
        trusted: the share of logs that call themselves trusted.
        says: of the last log.
    """

    held: dict[str, float]
    width: dict[str, float]
    effective: float
    trusted: float
    says: str


def coverage(situation: Situation, logs: int, events: int, seed: int) -> Coverage:
    """Draw so many logs of so many events, and evaluate each. Its rewards are known to be from -1 to 1."""
    chance = np.random.default_rng(seed)
    found = [estimate(situation.log(events, chance), (-1.0, 1.0)) for _ in range(logs)]
    made = {name: np.array([of(each) for each in found]) for name, of in ESTIMATORS.items()}
    truth = situation.worth
    return Coverage(
        {name: float(((each[:, 1] <= truth) & (truth <= each[:, 2])).mean()) for name, each in made.items()},
        {name: float((each[:, 2] - each[:, 1]).mean()) / 2 for name, each in made.items()},
        float(np.mean([each.effective for each in found])),
        float(np.mean([each.trusted for each in found])),
        found[-1].says,
    )


def main() -> None:
    """Print the shares, and the half widths as multiples of that of IPS."""
    print(
        f"95 % intervals over {LOGS:,} logs of {EVENTS:,} events: how often they hold the truth, and how wide they are"
    )
    for situation in SITUATIONS:
        found = coverage(situation, LOGS, EVENTS, seed=1)
        print(f"  {situation.name}: worth {situation.worth:.4f}, effective sample {found.effective:.0f},")
        print(f"    trusted in {found.trusted:.1%} of logs. {found.says}")
        for name, held in found.held.items():
            width = found.width[name]
            print(f"    {name:12} {held:6.1%}, half width {width:.4f}, {width / found.width['IPS']:.2f}x that of IPS")


if __name__ == "__main__":
    main()
