"""Turns a loop's learning policy into the arguments VW is started with (contract 3.2)."""

from __future__ import annotations

from shared.loops.service import ServiceConfiguration

DEFAULT_ARGUMENTS = "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"
"""Personalizer's own default, so that a loop that moves here behaves as it did."""


def policy_contract(loop_id: str) -> dict[str, str]:
    """The PolicyContract of a loop; its name is the loop's internal id, whatever a client called it (contract 3.2)."""
    return {"name": loop_id, "arguments": DEFAULT_ARGUMENTS}


def training_arguments() -> str:
    """What a model is trained with."""
    return DEFAULT_ARGUMENTS


def serving_arguments(configuration: ServiceConfiguration) -> str:
    """What overrides the trained options when a model serves: the exploration percentage is its epsilon."""
    return f"--epsilon {configuration.exploration_percentage:.9g}"
