"""Turns the operations on model versions into what callers are told of them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contract.models import ToldDifference, ToldVersion, ToldVersions
from shared.edge import versions
from shared.edge.calls import Operation
from shared.edge.descriptions import MODEL, Description, Parameter
from shared.edge.job_descriptions import PAGE

_BAD, _GONE = "BadRequest", "ResourceNotFound"

VERSIONS: Final[dict[Operation, Description]] = {
    versions.list_versions: Description(
        MODEL,
        "List the versions of the model",
        answer=ToldVersions,
        codes=(_BAD,),
        query=PAGE,
        details="The newest first; what was imported or deleted is among them.",
    ),
    versions.get_version: Description(MODEL, "Get a version of the model", answer=ToldVersion, codes=(_GONE,)),
    versions.get_difference: Description(
        MODEL,
        "Get how two versions differ",
        answer=ToldDifference,
        codes=(_BAD, _GONE),
        query=(Parameter("with", Annotated[str, Meta(description="The other version; its parent if left out.")]),),
    ),
    versions.get_version_model: Description(
        MODEL,
        "Get the model file of a version",
        answer=bytes,
        codes=(_GONE,),
        headers=("Content-Disposition", "Last-Modified"),
        details="One that was thinned out is rebuilt from the log, and proved by its SHA-256.",
    ),
    versions.roll_back: Description(
        MODEL,
        "Make a version serve, and pin it",
        answer=ToldVersion,
        codes=(_BAD, _GONE),
        details=(
            "It is served by every call that begins 5 s later, and stays until it is unpinned. Learning goes on "
            "beside it. What served before stays as it is, and can be made to serve again in the same way."
        ),
    ),
    versions.pin: Description(
        MODEL,
        "Pin the version that serves",
        answer=ToldVersion,
        codes=(_GONE,),
        details="It stays, whatever is learned, until it is unpinned.",
    ),
    versions.unpin: Description(
        MODEL,
        "Unpin the version that serves",
        204,
        codes=(_BAD,),
        query=(
            Parameter(
                "learn",
                Annotated[
                    Literal["newest", "pinned"],
                    Meta(
                        description=(
                            "newest: the newest version that was not held back serves. pinned: the pinned one goes on "
                            "serving and learns on, with what is joined from now on."
                        )
                    ),
                ],
            ),
        ),
    ),
}
"""Of the operations on model versions."""
