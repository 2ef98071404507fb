"""Turns what was found into a finding: how bad it is, what it rests on, and what to do.

docs/operations.md has the same codes in a table.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

ENOUGH = 500
"""Events, or features, without which nothing is said."""
Severity = Literal["error", "warning", "info"]
"""Something is broken; learning is worse than it could be; or it may be as it should, and is worth a look."""

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")
CATALOGUE: Final[dict[str, tuple[Severity, str]]] = {
    "drawsOff": (
        "error",
        "Find out what makes draws other than their probabilities say: event ids that are used for several events, "
        "and so draw alike each time, or ids that are not random; callers that rank again until they like the "
        "answer; events that are lost in the log for some actions only. Until then evaluations of this log are "
        "wrong. (A client that shows another action than rewardActionId does not show here: check that it shows "
        "that one.)",
    ),
    "valuesAreIds": (
        "warning",
        "Leave the feature out, or replace it by what it stands for (a segment, a bucket of an age, a category): of "
        "a value that does not come again nothing can be learned.",
    ),
    "namesAreValues": (
        "warning",
        "Do not make names of features out of data, such as ids or dates: send a few fixed names, with the data as "
        "their values.",
    ),
    "featureConstant": (
        "info",
        "Leave the feature out, or see why it never changes: a default in the client, a field that is not filled "
        "any more.",
    ),
    "numbersLarge": (
        "warning",
        "Scale the feature to about -1 to 1, or send it as text: a large number drowns the other features. Send an "
        "id as text or not at all, and of a time the hour or the day of the week.",
    ),
    "oneAction": (
        "warning",
        "Rank when there is something to choose: send all candidates as actions, not the one that will be shown.",
    ),
    "actionsApart": (
        "info",
        "Use a loop for each decision, or offer the groups together: actions of different groups are never compared.",
    ),
    "rewardsMissing": (
        "warning",
        "Send rewards under the eventId that Rank answered with, within rewardWaitTime. If they do come, see "
        "lateRewards and unknownRewards, and what Reward answers.",
    ),
    "rewardsLate": (
        "warning",
        "Set rewardWaitTime to more than the time from Rank to Reward, or send rewards sooner.",
    ),
    "rewardsUnknown": (
        "warning",
        "Send rewards under the eventId that Rank answered with: callers mistake ids, use another loop's endpoint, "
        "or repeat calls that are days old.",
    ),
    "rewardsEqual": (
        "warning",
        "Give better outcomes higher rewards, and see that defaultReward is not what a success earns: where all "
        "rewards are the same nothing can be learned.",
    ),
    "rewardsClamped": (
        "warning",
        "Scale rewards into the loop's reward range: learning cannot tell those beyond its end apart. With "
        "rewardAggregation sum it is the sum that must fit.",
    ),
    "rewardFell": (
        "warning",
        "See what changed in the last day: the client, what is offered, how rewards are computed, settings or "
        "policy. An evaluation of both days tells whether it is the policy.",
    ),
    "rewardRose": (
        "info",
        "Nothing, if this is learning at work. If it came at once, see whether rewards are sent twice or are "
        "computed otherwise.",
    ),
    "activationsMissing": (
        "warning",
        "Call Activate when the action is shown, within rewardWaitTime, or rank without deferActivation: events "
        "that are never activated are not learned.",
    ),
    "ranksRepeated": (
        "info",
        "Send each Rank once, with a new eventId or none. Retries after a timeout are harmless; many of them tell "
        "that the client's timeout is too short.",
    ),
    "probabilitiesClamped": (
        "warning",
        "Explore more (explorationPercentage), or offer fewer actions: where a drawn action was less probable than "
        "one in a thousand learning takes it for more probable than it was.",
    ),
    "explorationOff": (
        "info",
        "See which exploration the policy's arguments name: explorationPercentage is for epsilon-greedy, and others "
        "explore as they see fit. With too little of it nothing new is learned, with too much rewards are given "
        "away.",
    ),
    "modelMissing": (
        "warning",
        "See that there is a model (modelVersion): it is made from events that were joined, after rewardWaitTime "
        "and modelExportFrequency. If there is one, look at the counters model.refused and train.failed.",
    ),
    "modelStale": (
        "error",
        "Look at the counters train.failed and train.refused, and at the log of the train timer: events come, and "
        "no new model is made of them.",
    ),
}
"""By code: the severity, and what to do."""


class Finding(msgspec.Struct, frozen=True):
    """Something to know of a loop.

    Attributes:
        code: its kind; a key of `CATALOGUE`.
        severity: see `Severity`.
        what: what was found, in words.
        numbers: what that rests on.
        todo: what to do.
    """

    code: str
    severity: Severity
    what: str
    numbers: dict[str, float]
    todo: str


def finding(code: str, what: str, **numbers: float) -> Finding:
    """A finding of the catalogue.

    Args:
        code: its code.
        what: what was found, in words.
        **numbers: what that rests on.
    """
    severity, todo = CATALOGUE[code]
    return Finding(code, severity, what, {name: float(f"{value:.6g}") for name, value in numbers.items()}, todo)
