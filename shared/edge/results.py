"""Turns evaluations, with their results, into what each version of the API shows of them (contract 1.4, 5.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shared.contract import instants
from shared.contract.evaluations import DateRange, PolicySource, Status, spell_status
from shared.contract.versions import Version
from shared.evaluation import results
from shared.evaluation.bins import BIN, Bins, Point
from shared.evaluation.resources import Evaluation, Job
from shared.evaluation.results import ALL, Outcome, Results

_UNFINISHED = (Status.RUNNING, Status.NOT_SUBMITTED)
NO_TIME = "PT0S"
"""The aggregateTimeWindow of all that was recorded."""
Binned = Mapping[str, Mapping[str, Bins]]
_Bounds = Annotated[list[float], Meta(min_length=2, max_length=2, description="Both ends of the 95 % interval.")]


class PolicyResultSummary(msgspec.Struct, rename="camel", kw_only=True):
    """What IPS makes of some decisions, before 2022."""

    time_stamp: Annotated[str, Meta(description="When they begin; of a total, when the evaluation ends.")]
    ips_estimator_numerator: Annotated[float, Meta(description="The sum of the weighted rewards.")]
    ips_estimator_denominator: Annotated[int, Meta(description="The number of decisions.")]
    snips_estimator_denominator: Annotated[float, Meta(description="The sum of the weights.")]
    aggregate_time_window: Annotated[str, Meta(extra_json_schema={"format": "duration"})] = NO_TIME
    non_zero_probability: Annotated[int, Meta(description="Decisions that the policy might have taken.")]
    sum_of_squares: Annotated[float, Meta(description="Of the weighted rewards.")]
    confidence_interval: Annotated[float, Meta(description="Half of the width of the 95 % interval of the mean.")]
    average_reward: Annotated[float | msgspec.UnsetType, Meta(description="Left out in v1.0.")] = msgspec.UNSET


class FlatPolicyResult(msgspec.Struct, rename="camel", kw_only=True):
    """What a policy would have earned, before 2022."""

    name: str
    arguments: Annotated[str, Meta(description="Empty where it is no policy of Vowpal Wabbit.")]
    policy_source: Annotated[PolicySource | msgspec.UnsetType, Meta(description="Left out in v1.0.")] = msgspec.UNSET
    summary: Annotated[
        list[PolicyResultSummary] | msgspec.UnsetType,
        Meta(description="Of every five minutes; left out in lists of evaluations."),
    ] = msgspec.UNSET
    total_summary: PolicyResultSummary


class Expected(msgspec.Struct, rename="camel", kw_only=True):
    """The reward that is expected of a decision."""

    expected_reward: float
    confidence_interval: _Bounds


class ExpectedAt(Expected, rename="camel", kw_only=True):
    """The same from a time on."""

    time_stamp: str


class Timeseries(msgspec.Struct):
    """How it went."""

    data: list[ExpectedAt]


class PolicyResult(msgspec.Struct, rename="camel", kw_only=True):
    """What a policy would have earned in a slot."""

    name: str
    slot_id: Annotated[str, Meta(description="Empty for all slots together, and in single slot.")]
    arguments: str | msgspec.UnsetType = msgspec.UNSET
    policy_source: PolicySource
    summary: Expected
    timeseries: Timeseries


def details(job: Job) -> dict[str, Any]:
    """What lists hold of a job in 2022."""
    return {
        "id": job.id,
        "name": job.name,
        "startTime": instants.spell(job.start),
        "endTime": instants.spell(job.end),
        "creationTime": instants.spell(job.created),
        "status": spell_status(job.status, Version.V2022),
    }


def evaluation_details(evaluation: Evaluation) -> dict[str, Any]:
    """What lists hold of an evaluation in 2022."""
    return {**details(evaluation), "evaluationType": evaluation.evaluation_type}


def without_none(members: dict[str, Any]) -> dict[str, Any]:
    """The members that are something."""
    return {name: value for name, value in members.items() if value is not None}


def flat(evaluation: Evaluation, version: Version, binned: Binned | None) -> dict[str, Any]:
    """The Evaluation of a version before 2022.

    Args:
        evaluation: as it is held.
        version: one of them.
        binned: the bins of its results, or None where they are not to be told.
    """
    found = results.of(evaluation)
    answer = {
        "id": evaluation.id,
        "name": evaluation.name,
        "startTime": instants.spell(evaluation.start),
        "endTime": instants.spell(evaluation.end),
        "jobId": evaluation.job_id,
        "status": spell_status(evaluation.status, version),
        "policyResults": [_flat(one, version, evaluation.end, binned) for one in found.outcomes] if found else [],
        "featureImportance": found.importance if found else [],
    }
    if version is Version.V1_0:
        return answer
    return {
        **answer,
        "evaluationType": evaluation.evaluation_type,
        "optimalPolicy": evaluation.optimal_policy or "",
        "creationTime": instants.spell(evaluation.created),
    }


def _flat(outcome: Outcome, version: Version, end: float, binned: Binned | None) -> FlatPolicyResult:
    shown = FlatPolicyResult(
        name=outcome.name,
        arguments=outcome.arguments or "",
        policy_source=msgspec.UNSET if version is Version.V1_0 else outcome.source,
        total_summary=_summary(Point(end, outcome.slots[0].total), version),
    )
    bins = None if binned is None else binned.get(outcome.name, {}).get(str(ALL))
    if bins is not None:
        shown.summary = [_summary(point, version) for point in bins.every()]
    return shown


def _summary(point: Point, version: Version) -> PolicyResultSummary:
    sums = point.sums
    return PolicyResultSummary(
        time_stamp=instants.spell(point.time),
        ips_estimator_numerator=sums.weighted,
        ips_estimator_denominator=sums.events,
        snips_estimator_denominator=sums.weights,
        non_zero_probability=sums.matched,
        sum_of_squares=sums.squares,
        confidence_interval=sums.half_width,
        average_reward=msgspec.UNSET if version is Version.V1_0 else sums.mean,
    )


def with_content(evaluation: Evaluation, dates: DateRange, minutes: int, binned: Binned) -> dict[str, Any]:
    """The Evaluation of 2022.

    Args:
        evaluation: as it is held.
        dates: of the bins that are wanted.
        minutes: 5 for the sums so far at each bin that holds something; more for those of spans of so many.
        binned: the bins of its results.
    """
    found = results.of(evaluation)
    content = {
        "startTime": instants.spell(dates.start),
        "endTime": instants.spell(dates.end),
        "intervalInMinutes": minutes,
        "value": _between(found, binned, dates, minutes) if found else [],
    }
    if evaluation.status in _UNFINISHED:  # as recorded of a running one (contract 5.10)
        content |= {"startTime": instants.UNSET, "endTime": instants.UNSET, "intervalInMinutes": 0}
    return without_none(
        {
            **evaluation_details(evaluation),
            "optimalPolicy": evaluation.optimal_policy,
            "content": content,
            "description": evaluation.description,
        }
    )


def _between(found: Results, binned: Binned, dates: DateRange, minutes: int) -> list[PolicyResult]:
    return [
        _of_slot(found, outcome, slot.number, binned[outcome.name][str(slot.number)], dates, minutes)
        for outcome in found.outcomes
        for slot in outcome.slots
    ]


def _of_slot(found: Results, outcome: Outcome, slot: int, bins: Bins, dates: DateRange, minutes: int) -> PolicyResult:
    points = bins.expanding(*dates) if minutes == BIN // 60 else bins.rolling(*dates, minutes)
    total = bins.total(*dates)
    return PolicyResult(
        name=outcome.name,
        slot_id=found.slot_id(slot),
        arguments=outcome.arguments or msgspec.UNSET,
        policy_source=outcome.source,
        summary=Expected(expected_reward=total.mean, confidence_interval=list(total.interval)),
        timeseries=Timeseries([_expected(point) for point in points]),
    )


def _expected(point: Point) -> ExpectedAt:
    return ExpectedAt(
        time_stamp=instants.spell(point.time),
        expected_reward=point.sums.mean,
        confidence_interval=list(point.sums.interval),
    )
