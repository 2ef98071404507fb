"""Turns the figures of runs into a table of a scenario and its verdicts: ok, short of what, or undecided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance

from bench.learning.scenario import Figures, Row, Scenario

MARGIN = 0.02
"""How far below a reference a figure may be."""


@dataclass(frozen=True, slots=True)
class Played:
    """What a policy earned in a scenario.

    Attributes:
        row: the policy.
        ours: the figures of Rankloop's runs.
        plain: those of plain VW's runs, where they were wanted.
    """

    row: Row
    ours: Sequence[Figures]
    plain: Sequence[Figures] = ()

    def below_published(self) -> list[int]:
        """The columns in which the mean is below what is published."""
        return [
            column
            for column, published in enumerate(self.row.published)
            if published is not None and _mean(self.ours, column) < published - MARGIN
        ]

    def wants_plain(self) -> bool:
        """Whether plain VW has to play as well: published figures are missing, or of another layout or rhythm."""
        return self.row.published == (None, None) or bool(self.below_published())

    def problems(self, chance: float | None = None) -> list[str]:
        """What it is short of; nothing when it is fine.

        Args:
            chance: what a uniform choice earns, where the runs are too short to be held to anything else.
        """
        if chance is not None:
            return [] if _mean(self.ours, 1) > chance else [f"chance {chance:.3f}"]
        found = []
        for column in range(2):
            mean, goal = _mean(self.ours, column), self.row.goal[column]
            if goal is not None and mean < goal:
                found.append(f"goal {goal:.2f}")
        if self.row.rising and _mean(self.ours, 1) <= _mean(self.ours, 0):
            found.append("not rising")
        if self.plain:
            found += self._below_plain([max(MARGIN, self._chance(column)) for column in range(2)])
        else:
            found += [f"published {self.row.published[column]:.3f}" for column in self.below_published()]
        return found

    def undecided(self) -> list[str]:
        """What it is below by more than the margin, though not by more than such runs differ by chance."""
        return self._below_plain([MARGIN, MARGIN]) if self.plain else []

    def _below_plain(self, margins: Sequence[float]) -> list[str]:
        return [
            f"plain VW {_mean(self.plain, column):.3f}"
            for column, margin in enumerate(margins)
            if _mean(self.ours, column) < _mean(self.plain, column) - margin
        ]

    def _chance(self, column: int) -> float:
        """Two standard errors of the difference of the means: some explorations end far apart from seed to seed."""
        errors = [_variance(runs, column) / (len(runs) - 1) for runs in (self.ours, self.plain)]
        return float(2 * sum(errors) ** 0.5)


def _mean(runs: Sequence[Figures], column: int) -> float:
    return fmean(run[column] for run in runs)


def _variance(runs: Sequence[Figures], column: int) -> float:
    return pvariance([run[column] for run in runs])


def table(scenario: Scenario, played: Sequence[Played], bounds: Figures, quick: bool) -> str:
    """A scenario's table, in Markdown.

    Args:
        scenario: the scenario.
        played: its rows.
        bounds: what uniform choice and full knowledge earn.
        quick: whether the runs are too short to be held to more than chance.
    """
    (first, second), (low, high) = scenario.columns, bounds
    lines = [
        f"### {scenario.name}: {scenario.title}",
        "",
        f"{scenario.events:,} events, {scenario.seeds} seeds. Uniform choice {low:.3f}, all known {high:.3f}.",
        "",
        f"| policy | {first} (min-max) | {second} (min-max) | published | plain VW, every 100 | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for each in played:
        published = " / ".join("-" if value is None else f"{value:.3f}" for value in each.row.published)
        plain = f"{_mean(each.plain, 0):.3f} / {_mean(each.plain, 1):.3f}" if each.plain else "-"
        lines.append(
            f"| {each.row.name} | {_spread(each.ours, 0)} | {_spread(each.ours, 1)} | "
            f"{published if each.row.published != (None, None) else '-'} | {plain} | "
            f"{_verdict(each, low if quick else None)} |"
        )
    return "\n".join(lines) + "\n"


def _spread(runs: Sequence[Figures], column: int) -> str:
    values = [run[column] for run in runs]
    return f"{fmean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def _verdict(played: Played, chance: float | None) -> str:
    if problems := played.problems(chance):
        return f"**short**: {', '.join(problems)}"
    if chance is not None:
        return "beats chance"
    verdict = f"undecided: {', '.join(below)}" if (below := played.undecided()) else "ok"
    goals = [f"{goal:.2f}" for goal in played.row.goal if goal is not None]
    return f"{verdict}, goal {', '.join(goals)}" if goals else verdict
