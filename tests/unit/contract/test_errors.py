from __future__ import annotations

import orjson
import pytest

from shared.contract.errors import STATUS, ApiError, internal_error, unavailable


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("BadRequest", 400),
        ("InvalidRankRequest", 400),
        ("InvalidRewardRequest", 400),
        ("InvalidEventIdToActivate", 400),
        ("InvalidServiceConfiguration", 400),
        ("InvalidRewardWaitTime", 400),
        ("InvalidLogRetentionDays", 400),
        ("InvalidModelRetrainDays", 400),
        ("InvalidLearningModeServiceConfiguration", 400),
        ("InvalidPolicyConfiguration", 400),
        ("InvalidPolicyContract", 400),
        ("InvalidMultiSlotApiAccess", 400),
        ("InvalidModelImportFormat", 400),
        ("InvalidModelImportSignature", 400),
        ("PayloadSizeExceeded", 400),
        ("Unauthorized", 401),
        ("Forbidden", 403),
        ("InvalidApiAccess", 403),
        ("ProblemTypeIncompatibleWithAutoOptimization", 403),
        ("ResourceNotFound", 404),
        ("FrontEndNotFound", 404),
        ("EvaluationNotFound", 404),
        ("LoopAlreadyExists", 409),
        ("ModelRankingError", 409),
        ("InternalServerError", 500),
        ("OperationNotAllowed", 503),
    ],
)
def test_a_code_has_the_status_of_the_contract(code: str, status: int) -> None:
    assert ApiError(code, "what").status == status
    assert code in STATUS


def test_the_body_has_the_shape_of_the_contract() -> None:
    error = ApiError("BadRequest", "eventId: too long", "eventId")

    assert orjson.loads(error.body()) == {
        "error": {"code": "BadRequest", "message": "eventId: too long", "target": "eventId"}
    }
    assert error.headers() == {"x-ms-error-code": "BadRequest"}
    assert str(error) == "eventId: too long"


def test_members_without_a_value_are_left_out() -> None:
    assert orjson.loads(ApiError("BadRequest", "what").body()) == {"error": {"code": "BadRequest", "message": "what"}}


def test_a_lone_surrogate_in_a_message_does_not_break_the_answer() -> None:
    error = ApiError("BadRequest", "key \ud800", "features.\udfff")

    assert orjson.loads(error.body())["error"] == {"code": "BadRequest", "message": "key ?", "target": "features.?"}


def test_an_unavailable_log_says_when_to_come_back() -> None:
    error = unavailable()

    assert error.status == 503
    assert error.headers() == {"x-ms-error-code": "OperationNotAllowed", "Retry-After": "1"}


def test_a_fault_of_ours_says_nothing_of_the_inside() -> None:
    error = internal_error()

    assert error.status == 500
    assert orjson.loads(error.body())["error"] == {
        "code": "InternalServerError",
        "message": "Server got itself in trouble",
    }


def test_a_code_without_a_status_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        _ = ApiError("NoSuchCode", "what").status


def test_the_statuses_are_those_of_refusals() -> None:
    assert set(STATUS.values()) <= {400, 401, 403, 404, 405, 408, 409, 429, 500, 503}
    assert all(code.isidentifier() for code in STATUS)
