"""Turns the operations on what a loop tries out, holdback and Apprentice mode, into what callers are told of them."""

from __future__ import annotations

from typing import Final

from shared.edge import apprentice, holdback
from shared.edge.calls import Operation
from shared.edge.descriptions import RANKLOOP, Description
from shared.log.subject import HEADER as SUBJECT

TRIALS: Final[dict[Operation, Description]] = {
    holdback.get_holdback: Description(
        RANKLOOP,
        "Get what is held back from the model, and what the model is worth",
        answer=holdback.HoldbackContract,
        details="Both sides are compared since the share was last changed.",
    ),
    holdback.put_holdback: Description(
        RANKLOOP,
        "Hold a share of decisions back from the model",
        answer=holdback.HoldbackContract,
        codes=("InvalidRequest",),
        example={"share": 0.05},
        details=(
            "They get the request's first action that is not excluded, or each slot's baseline, and are not learned. A "
            f"subject ({SUBJECT}) is always on one side. Another share begins the comparison anew, 5 s later."
        ),
    ),
    apprentice.get_apprentice: Description(
        RANKLOOP,
        "Get how well the loop would have done in Apprentice mode",
        answer=apprentice.ApprenticeContract,
        codes=("ApprenticeModeNeverTurnedOn",),
    ),
}
