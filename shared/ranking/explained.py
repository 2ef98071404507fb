"""Turns what a model makes of an action into the member of the answer that explains it (contract 5.12, ADR 0033)."""

from __future__ import annotations

from typing import Final

import msgspec

from shared.learning.model import ServingModel
from shared.ranking.features import Action, Context

SHOWN: Final = 10
"""Features that an answer names: those that add the most or take the most away."""
NOT_EXPLAINED: Final = b',"inferenceExplanation":[]'
"""The member where no model was asked, or none that goes by a sum of features."""
_encode = msgspec.json.Encoder().encode


def explained(model: ServingModel, context: Context, action: Action) -> bytes:
    """The member of the answer, behind a comma, as JSON.

    Args:
        model: that was asked.
        context: of the call.
        action: the one that the answer names.
    """
    shares = model.explainer.shares(context.example, action.example, SHOWN)
    if shares is None:
        return NOT_EXPLAINED
    features = b",".join([b'{"name":%b,"score":%.7g}' % (_encode(name), score) for name, score in shares])
    return b',"inferenceExplanation":[{"id":%b,"features":[%b]}]' % (action.id_json, features)
