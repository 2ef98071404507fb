"""Turns the errors of the Azure SDKs into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import AzureError

from shared.storage import Conflict, Unavailable

_BROKEN_PRECONDITION = ("ConditionNotMet", "BlobAlreadyExists", "UpdateConditionNotSatisfied")


@contextmanager
def translated() -> Iterator[None]:
    """The SDKs' errors as ours: a broken precondition is `Conflict`, all else is `Unavailable`."""
    try:
        yield
    except AzureError as e:
        if is_broken_precondition(e):
            raise Conflict(e.message) from e
        raise Unavailable(str(e.message)) from e
    except (TimeoutError, OSError) as e:
        raise Unavailable(str(e)) from e


def is_broken_precondition(error: AzureError) -> bool:
    """Whether a blob or row was not in the state that was asked for.

    By the service's code, not by the status: a lease, an immutability policy or a container that is being deleted
    answers 409 or 412 as well, and would send callers that read again after a `Conflict` round in circles.
    """
    return getattr(error, "error_code", None) in _BROKEN_PRECONDITION
