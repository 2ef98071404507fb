"""Turns evaluation calls into stored jobs, and jobs into answers (contract 1.4, 5.10)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from shared.adoption import refusals
from shared.app import App
from shared.contract.configurations import PolicyContract
from shared.contract.decoding import decode
from shared.contract.errors import ApiError
from shared.contract.evaluations import (
    PolicyReferenceContract,
    Status,
    evaluation_request,
    filter_query,
    result_query,
)
from shared.contract.requests import check_id
from shared.contract.versions import ALL, Version
from shared.edge import asking, paging
from shared.edge import results as shapes
from shared.edge.calls import Call, Reply, reply_json
from shared.edge.configurations import adopt
from shared.edge.turn import turn
from shared.evaluation import field, resources, results
from shared.evaluation.resources import Evaluation, Job
from shared.log import checkpoint as checkpoints
from shared.log.erasure import Erased
from shared.log.records import event_key
from shared.loops import policy
from shared.loops.loops import DEFAULT
from shared.loops.policy import Policy
from shared.loops.settings import Loop

J = TypeVar("J", bound=Job)


async def list_evaluations(app: App, call: Call) -> Reply:
    """GET evaluations: the newest first; before 2022 all of them, then in pages."""
    if call.version is not Version.V2022:
        held = await resources.newest_first(app.blobs, call.loop.id, Evaluation)
        return reply_json([shapes.flat(evaluation, call.version, None) for evaluation in held])
    page, wanted = paging.read(call.query), filter_query(call.query)
    held = await resources.newest_first(app.blobs, call.loop.id, Evaluation)
    return listed(call, page, [one for one in held if wanted in (None, one.evaluation_type)], shapes.evaluation_details)


async def create_evaluation(app: App, call: Call) -> Reply:
    """POST evaluations, before 2022: its id is made here."""
    made = await _create(app, call, str(uuid.uuid4()))
    # Below the host, and by the first preview where any was called, as recorded (contract 1.5).
    loop = "" if call.name == DEFAULT else f"/loops/{call.name}"
    version = min(call.version, Version.V1_1_P1, key=ALL.index)
    place = f"{loop}/personalizer/{version.value}/evaluations/{made.id}"
    return reply_json(shapes.flat(made, call.version, None), 201, {"Location": place})


async def put_evaluation(app: App, call: Call) -> Reply:
    """PUT evaluations/{evaluationId}, in 2022: 200 with nothing, as recorded."""
    check_id(id_of(call), "evaluationId", "InvalidEvaluationContract")
    await _create(app, call, id_of(call))
    return Reply(200)


async def _create(app: App, call: Call, evaluation_id: str) -> Evaluation:
    """Store a checked evaluation, and have it begun."""
    request, dates = evaluation_request(call.body, call.version)
    loop = await asking.loop_for(app, call, Evaluation, evaluation_id)
    given = _policies(loop, request.policies)
    checkpoint, _ = await checkpoints.load(app.blobs, loop.id)
    windows = await asking.windows_of(app, loop, dates, checkpoint.since)
    for n, refusal in enumerate(await refusals(turn(app.trying), loop, given)):
        if refusal:
            raise _naming(n, refusal)
    now = await app.clock.read()
    made = Evaluation(
        id=evaluation_id,
        name=request.name,
        start=dates.start,
        end=dates.end,
        created=now,
        status=Status.RUNNING,
        api_version=call.version,
        job_id=field.job_id(loop.id, evaluation_id, now),
        policies=request.policies,
        optimize=bool(request.optimize),
    )
    seen = await field.sample(app.blobs, loop, windows, Erased(checkpoint.erasures))
    planned = field.plan(loop, made, windows, seen)
    await asking.begin(app, loop, Evaluation, app.evaluator.begin(loop.id, made, planned, now))
    return made


async def get_evaluation(app: App, call: Call) -> Reply:
    """GET evaluations/{evaluationId}: flat before 2022, then with the results between two times."""
    wanted = result_query(call.query) if call.version is Version.V2022 else None
    evaluation = await held_evaluation(app, call, id_of(call))
    if ALL.index(call.version) > ALL.index(evaluation.api_version):
        message = f"The evaluation was made with {evaluation.api_version.value}: read it with that or an older version."
        raise ApiError("IncompatibleEvaluationVersion", message)
    binned = await results.read_bins(app.blobs, call.loop.id, evaluation.job_id)
    if wanted is None:
        return reply_json(await asyncio.to_thread(shapes.flat, evaluation, call.version, binned))
    return reply_json(await asyncio.to_thread(shapes.with_content, evaluation, *wanted, binned))


async def delete_evaluation(app: App, call: Call) -> Reply:
    """DELETE evaluations/{evaluationId}; one that runs is canceled."""
    evaluation = await held_evaluation(app, call, id_of(call))
    await app.evaluator.delete(call.loop.id, evaluation, await app.clock.read())
    return Reply(204)


async def apply_from_evaluation(app: App, call: Call) -> Reply:
    """POST configurations/applyFromEvaluation: a policy of an evaluation becomes the loop's, as by a PUT of it."""
    reference = decode(call.body, PolicyReferenceContract)
    evaluation = await held_evaluation(app, call, event_key(reference.evaluation_id))
    found = results.of(evaluation)
    outcome = found.outcome(reference.policy_name) if found else None
    arguments = outcome.arguments if outcome else None
    if arguments is None:
        arguments = next((one.arguments for one in evaluation.policies if one.name == reference.policy_name), None)
    if arguments is None:
        message = f"policyName: the evaluation has no policy named {reference.policy_name[:64]!r} that can be applied."
        raise ApiError("LearningSettingsNotFound", message, "policyName")
    await adopt(app, call, arguments)
    return Reply(204)


def id_of(call: Call) -> str:
    """The id in the path; a slash in it is spelled in two ways, as in that of an event."""
    return event_key(call.id)


def _policies(loop: Loop, given: Sequence[PolicyContract]) -> list[Policy]:
    """Policies from outside, which can be compared with the loop's own."""
    found: list[Policy] = []
    for n, one in enumerate(given):
        if one.name in field.OWN:
            message = f"policies[{n}].name must be none of {', '.join(field.OWN)}, which are compared in any case."
            raise ApiError("DuplicateCustomPolicyNames", message, f"policies[{n}].name")
        try:
            found.append(policy.read(one.arguments))
        except ApiError as e:
            raise _naming(n, e) from e
        if found[n].problem is not loop.policy.problem:
            message = f"arguments must decide as the loop's policy does: with --{loop.policy.problem}."
            raise _naming(n, ApiError("InvalidPolicyConfiguration", message, "arguments"))
    return found


def _naming(n: int, refusal: ApiError) -> ApiError:
    """The refusal of a policy, which says which of a list it is."""
    return ApiError(refusal.code, f"policies[{n}].{refusal.message}", f"policies[{n}].{refusal.target}")


async def held_evaluation(app: App, call: Call, evaluation_id: str) -> Evaluation:
    """The evaluation of an id.

    Raises:
        ApiError: EvaluationNotFound.
    """
    evaluation = await resources.get(app.blobs, call.loop.id, Evaluation, evaluation_id)
    if evaluation is None:
        raise _unknown_evaluation(evaluation_id)
    return evaluation


def _unknown_evaluation(evaluation_id: str) -> ApiError:
    return ApiError("EvaluationNotFound", f"There is no evaluation {evaluation_id[:64]!r}.", "evaluationId")


def listed(call: Call, page: paging.Page, jobs: Sequence[J], details: Callable[[J], dict[str, Any]]) -> Reply:
    """A page of a list of jobs."""
    shown, following = page.of(jobs)
    next_link = following.link(call.url, call.query) if following else None
    return reply_json(shapes.without_none({"value": [details(job) for job in shown], "nextLink": next_link}))
