"""Turns the ids in paths, and the headers that calls may have, into what callers are told of them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta

from shared.contract.requests import MAX_ID
from shared.edge.calls import REQUEST_ID
from shared.log.subject import HEADER, MAX_SUBJECT
from shared.loops import keys

_ids = Annotated[str, Meta(min_length=1, max_length=MAX_ID, description="1 to 256 characters, percent-encoded.")]
IN_PATH: Final[dict[str, Any]] = {
    "eventId": _ids,
    "evaluationId": _ids,
    "featureImportanceId": _ids,
    "loop": Annotated[str, Meta(min_length=1, description="The loop's name.", examples=["news"])],
    "subject": Annotated[
        str, Meta(min_length=1, max_length=MAX_SUBJECT, description=f"As it stood in {HEADER}, percent-encoded.")
    ],
    "erasureId": Annotated[str, Meta(min_length=1, description="As the call that began it told.")],
    "jobId": Annotated[str, Meta(min_length=1, description="As the list of jobs has it.")],
    "modelVersion": Annotated[str, Meta(min_length=1, description="The name of the version, as the list tells it.")],
    "importId": Annotated[str, Meta(min_length=1, description="As the call that made it told.")],
    "key": Annotated[str, Meta(description="Which of the two.", extra_json_schema={"enum": list(keys.NAMES)})],
}
"""What stands in paths, by the name of the hole."""
REPEATED: Final = {
    "name": REQUEST_ID,
    "in": "header",
    "description": "A name of the caller's for this call: repeated under the same one, it counts once.",
    "schema": {"type": "string"},
}
"""The header under which a reward or an activation may be repeated."""
SUBJECT: Final = {
    "name": HEADER,
    "in": "header",
    "description": (
        "Whom the event is about, in printable ASCII without spaces at its ends. Kept as a keyed hash, by which all "
        "events of a subject can be erased."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_SUBJECT},
}
"""The header of Rank that names a subject."""
