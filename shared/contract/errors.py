"""Turns a refusal raised anywhere in `shared` into the contract's error code, status and JSON (contract 4)."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Final

import orjson

STATUS: Final[dict[str, int]] = {
    "ApprenticeModeNeverTurnedOn": 400,
    "BadRequest": 400,
    "DuplicateCustomPolicyNames": 400,
    "EvaluationAlreadyExists": 400,
    "FeatureImportanceAlreadyExists": 400,
    "InvalidContainer": 400,
    "InvalidContract": 400,
    "InvalidDateTimesInEvaluationContract": 400,
    "InvalidEvaluationContract": 400,
    "InvalidEventIdToActivate": 400,
    "InvalidLearningModeServiceConfiguration": 400,
    "InvalidLogRetentionDays": 400,
    "InvalidModelImportFormat": 400,
    "InvalidModelImportSignature": 400,
    "InvalidModelRetrainDays": 400,
    "InvalidMultiSlotApiAccess": 400,
    "InvalidPolicyConfiguration": 400,
    "InvalidPolicyContract": 400,
    "InvalidRankRequest": 400,
    "InvalidRequest": 400,
    "InvalidRewardRequest": 400,
    "InvalidRewardWaitTime": 400,
    "InvalidSasUri": 400,
    "InvalidServiceConfiguration": 400,
    "LogsSizeExceedAllowedLimit": 400,
    "MaximumEvaluationCustomPoliciesExceeded": 400,
    "NoLogsExistInDateRange": 400,
    "PayloadSizeExceeded": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "InvalidApiAccess": 403,
    "ProblemTypeIncompatibleWithAutoOptimization": 403,
    "EvaluationNotFound": 404,
    "FeatureImportanceNotFound": 404,
    "FrontEndNotFound": 404,
    "LearningSettingsNotFound": 404,
    "ResourceNotFound": 404,
    "IncompatibleEvaluationVersion": 405,
    "LoopAlreadyExists": 409,
    "ModelRankingError": 409,
    "TooManyRequests": 429,
    "InternalServerError": 500,
    "OperationNotAllowed": 503,
}
"""Status by code: those of contract 4.2 that something here can raise, and four of our own. Unauthorized, Forbidden
and 429 came from the original's gateway, whose bodies were never published; LoopAlreadyExists is Rankloop's."""


class ApiError(Exception):
    """A request that cannot be served, in the contract's terms.

    Args:
        code: a key of `STATUS`.
        message: for the caller: the field, what was expected, and what came.
        target: the member at fault, as a JSON path without the leading `$.`, or None.
        retry_after: seconds after which repeating the call makes sense, or None.
    """

    def __init__(self, code: str, message: str, target: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.target = target
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return STATUS[self.code]

    def body(self) -> bytes:
        """The error body in the contract's shape (contract 4.1), as compact JSON."""
        error: dict[str, str] = {"code": self.code, "message": self.message}
        if self.target is not None:
            error["target"] = self.target
        # A target may quote the caller's own key; a lone surrogate in it must not turn the 400 into a 500.
        return orjson.dumps({"error": {k: v.encode("utf-8", "replace").decode() for k, v in error.items()}})

    def headers(self) -> dict[str, str]:
        """Headers of the answer: the code for newer SDKs (contract 4.1), and when to come back."""
        headers = {"x-ms-error-code": self.code}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return headers


def unavailable() -> ApiError:
    """The answer when storage does not answer in time.

    The call may count all the same. Repeated, a reward counts once under the same `x-ms-client-request-id`, a rank
    under the same event id.
    """
    return ApiError("OperationNotAllowed", "Storage does not answer at the moment; try again.", retry_after=1)


def overloaded() -> ApiError:
    """The answer to a call that finds too many under way. Nothing was done for it."""
    return ApiError("OperationNotAllowed", "Too many calls are under way at the moment; try again.", retry_after=1)


def busy() -> ApiError:
    """The answer to a call that would try something from outside while others do. Nothing was done for it."""
    message = "Other models, policies or imports are being tried at the moment; try again."
    return ApiError("OperationNotAllowed", message, retry_after=20)


def too_many(wait: float) -> ApiError:
    """The answer to a call beyond the rate that the loop's owner has set. Nothing was done for it.

    Args:
        wait: seconds until the next one may be let through.
    """
    message = "The loop gets more calls a second than its owner allows (rankloop/v1/limits); try again later."
    return ApiError("TooManyRequests", message, retry_after=max(1, math.ceil(wait)))


def internal_error() -> ApiError:
    """The answer to a fault of ours: it says nothing of the inside."""
    return ApiError("InternalServerError", HTTPStatus.INTERNAL_SERVER_ERROR.description)
