"""Turns the operations on a loop's numbers over time, and its latest events, into what callers are told of them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.edge import action_metrics, metrics, recent, schemas
from shared.edge.calls import Operation
from shared.edge.descriptions import RANKLOOP, Description, Parameter

_FROM = Parameter(
    "from",
    Annotated[str, Meta(description="Where the first step begins, or within it.", extra_json_schema=schemas.INSTANT)],
)
_TO = Parameter("to", Annotated[str, Meta(description="Where it ends; now.", extra_json_schema=schemas.INSTANT)])
_STEP = "Seconds of a step."

METRICS: Final[dict[Operation, Description]] = {
    metrics.get_metrics: Description(
        RANKLOOP,
        "Get events, rewards, exploration and calls over time",
        answer=metrics.MetricsContract,
        codes=("InvalidRequest",),
        query=(_FROM, _TO, Parameter("step", Annotated[Literal[60, 300, 3600, 86400], Meta(description=_STEP)])),
        details=(
            "The last two hours by the minute, or what is asked for: a month of minutes at most. Sums have seven "
            "digits. What was counted is kept for 400 days, and goes with the log when that is deleted."
        ),
    ),
    action_metrics.get_action_metrics: Description(
        RANKLOOP,
        "Get what each action has earned over time",
        answer=action_metrics.ActionsContract,
        codes=("InvalidRequest",),
        query=(_FROM, _TO, Parameter("step", Annotated[Literal[3600, 86400], Meta(description=_STEP)])),
        details="The last day by the hour, or what is asked for: 93 days of hours at most.",
    ),
    recent.list_recent: Description(
        RANKLOOP,
        "List the latest events, rewards and activations",
        answer=recent.RecentEvents,
        codes=("InvalidRequest",),
        query=(Parameter("limit", Annotated[int, Meta(ge=1, le=recent.MOST, description="How many; 50 by default.")]),),
        details="What is pending, and the end of what is joined, without any feature.",
    ),
}
"""Of what a loop did lately."""
