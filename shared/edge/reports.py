"""Turns an evaluation into all that is known of its policies: every estimate, how sure it is, and what that means."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from shared.app import App
from shared.contract import instants
from shared.contract.evaluations import EvaluationType, PolicySource, Status
from shared.edge import evaluations
from shared.edge.calls import Call, Reply, reply_json
from shared.evaluation import results
from shared.evaluation.estimators import Estimates
from shared.evaluation.resources import Evaluation
from shared.evaluation.results import Outcome, Results, Slot

_INSTANT = {"format": "date-time"}
_Left = str | msgspec.UnsetType


class EstimateReport(msgspec.Struct, rename="camel"):
    """The reward that is expected of a decision."""

    value: float
    low: Annotated[float, Meta(description="The lower end of the 95 % interval.")]
    high: Annotated[float, Meta(description="The upper one.")]


class EstimatesReport(msgspec.Struct, rename="camel"):
    """What a policy would have earned, as several estimators see it."""

    events: Annotated[int, Meta(description="Events that were looked at; in multi-slot each has several decisions.")]
    effective_events: Annotated[float, Meta(description="Of how many events of the policy's own they tell as much.")]
    matched: Annotated[int, Meta(description="Decisions that the policy might have taken.")]
    snips: Annotated[
        EstimateReport, Meta(description="Self-normalised: the one to go by, and policies are ordered by.")
    ]
    ips: Annotated[EstimateReport, Meta(description="Inverse propensity scores: what Personalizer showed.")]
    dr: Annotated[EstimateReport, Meta(description="Doubly robust: what a model of rewards does not explain, by IPS.")]
    conservative: Annotated[EstimateReport, Meta(description="IPS with an interval that holds also of few events.")]
    trusted: Annotated[bool, Meta(description="Whether the first three intervals may be believed.")]
    more_events: Annotated[
        int | None, Meta(description="About how many more would make them so; null where nobody can say.")
    ]
    says: Annotated[str, Meta(description="The same in words.")]


class SlotReport(msgspec.Struct, rename="camel"):
    """What a policy would have earned in a slot."""

    slot_id: Annotated[str, Meta(description="Empty for all slots together, and in single slot.")]
    judged: Annotated[EstimatesReport, Meta(description="By what of the log nothing was chosen by: compare by this.")]
    whole: Annotated[EstimatesReport, Meta(description="By all of the log.")]


class PolicyReport(msgspec.Struct, rename="camel", kw_only=True):
    """What a policy would have earned."""

    name: str
    policy_source: PolicySource
    arguments: _Left = msgspec.UNSET
    slots: list[SlotReport]


class EvaluationReport(msgspec.Struct, rename="camel", kw_only=True):
    """An evaluation with all that is known of its policies. What is not known, or not yet, is left out."""

    id: str
    name: str
    start_time: Annotated[str, Meta(extra_json_schema=_INSTANT)]
    end_time: Annotated[str, Meta(extra_json_schema=_INSTANT)]
    creation_time: Annotated[str, Meta(extra_json_schema=_INSTANT)]
    status: Status
    evaluation_type: EvaluationType
    job_id: Annotated[str, Meta(description="Of the job that makes it: how far that is, and how to cancel it.")]
    optimal_policy: Annotated[_Left, Meta(description="The one that would have earned the most.")] = msgspec.UNSET
    description: Annotated[_Left, Meta(description="What came of it, in words.")] = msgspec.UNSET
    judged_from: Annotated[
        _Left, Meta(extra_json_schema=_INSTANT, description="Where the part begins by which nothing was chosen.")
    ] = msgspec.UNSET
    policies: list[PolicyReport]


async def get_report(app: App, call: Call) -> Reply:
    """GET rankloop/v1/evaluations/{evaluationId}."""
    held = await evaluations.held_evaluation(app, call, evaluations.id_of(call))
    return reply_json(_report(held, results.of(held)))


def _report(held: Evaluation, found: Results | None) -> EvaluationReport:
    begins = None if found is None else found.judged_from
    return EvaluationReport(
        id=held.id,
        name=held.name,
        start_time=instants.spell(held.start),
        end_time=instants.spell(held.end),
        creation_time=instants.spell(held.created),
        status=held.status,
        evaluation_type=held.evaluation_type,
        job_id=held.job_id,
        optimal_policy=held.optimal_policy or msgspec.UNSET,
        description=held.description or msgspec.UNSET,
        judged_from=msgspec.UNSET if begins is None else instants.spell(begins),
        policies=[] if found is None else [_policy(found, outcome) for outcome in found.outcomes],
    )


def _policy(found: Results, outcome: Outcome) -> PolicyReport:
    return PolicyReport(
        name=outcome.name,
        policy_source=outcome.source,
        arguments=outcome.arguments or msgspec.UNSET,
        slots=[_slot(found, slot) for slot in outcome.slots],
    )


def _slot(found: Results, slot: Slot) -> SlotReport:
    return SlotReport(found.slot_id(slot.number), _estimates(slot.judged), _estimates(slot.whole))


def _estimates(known: Estimates) -> EstimatesReport:
    return EstimatesReport(
        events=known.events,
        effective_events=known.effective,
        matched=known.matched,
        snips=EstimateReport(*known.snips),
        ips=EstimateReport(*known.ips),
        dr=EstimateReport(*known.dr),
        conservative=EstimateReport(*known.conservative),
        trusted=known.trusted,
        more_events=known.more_events,
        says=known.says,
    )
