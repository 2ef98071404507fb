"""Turns the operations on a loop's log, on erasures and on imports into what callers are told of them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.edge import erasures, imports, logs, schemas
from shared.edge.calls import Operation
from shared.edge.descriptions import LOG, Description, Parameter
from shared.log.subject import HEADER as SUBJECT

_ERASED = (
    "Once this is answered nothing that reads the log sees any of it, and no model that is begun from then on learns "
    "it. It goes from storage in the background. What nobody knows is erased, too: it may be on its way."
)

LOGS: Final[dict[Operation, Description]] = {
    logs.delete_logs: Description(
        LOG, "Delete the log", 204, details="What is not joined yet is not learned. It takes up to 5 s."
    ),
    logs.get_log_properties: Description(LOG, "Get the days of the log", answer=schemas.LogsProperties),
    erasures.erase_event: Description(
        LOG,
        "Erase an event",
        202,
        erasures.ErasureContract,
        ("BadRequest",),
        ("Operation-Location",),
        details=f"With all of its rewards and activations. {_ERASED}",
    ),
    erasures.erase_subject: Description(
        LOG,
        "Erase all events of a subject",
        202,
        erasures.ErasureContract,
        ("BadRequest",),
        ("Operation-Location",),
        details=f"Those that were ranked with the subject in the header {SUBJECT}. {_ERASED}",
    ),
    erasures.list_erasures: Description(LOG, "List erasures", answer=erasures.ErasureList),
    erasures.get_erasure: Description(
        LOG, "Get what became of an erasure", answer=erasures.ErasureContract, codes=("ResourceNotFound",)
    ),
    imports.create_import: Description(
        LOG,
        "Import past decisions",
        201,
        imports.ImportContract,
        ("BadRequest", "InvalidRequest", "PayloadSizeExceeded", "ResourceNotFound"),
        ("Location",),
        (
            Parameter("format", Annotated[Literal["dsjson", "csv", "parquet"], Meta(description="Of the file.")], True),
            Parameter(
                "path",
                Annotated[str, Meta(description="In place of a body: a file in the loop's folder incoming/.")],
            ),
        ),
        details="The loop learns them before its own log, in each model that it builds from then on.",
    ),
    imports.list_imports: Description(LOG, "List imports", answer=imports.ImportList),
    imports.get_import: Description(LOG, "Get an import", answer=imports.ImportContract, codes=("ResourceNotFound",)),
    imports.delete_import: Description(
        LOG, "Delete an import", 204, codes=("ResourceNotFound",), details="A new model is built without it."
    ),
    logs.upload: Description(
        LOG,
        "Upload a log of local inference",
        None,
        codes=("InvalidApiAccess",),
        details="Always refused with InvalidApiAccess: call rank and reward in its place.",
    ),
}
"""Of the operations on the log."""
