"""Turns what was examined of a loop's log into its features: how often each comes, and how much it varies."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from shared.app import App
from shared.edge.calls import Call, Reply, reply_json
from shared.health import distinct, examined
from shared.health.feature_findings import Told, told
from shared.log import checkpoint as checkpoints


class FeatureContract(msgspec.Struct):
    """What was counted of a feature. No value is told."""

    path: Annotated[str, Meta(description="Where it stands: context.user.age, action.taste, slot.size; or action:id.")]
    seen: Annotated[int, Meta(description="Contexts, actions or slots that have it.")]
    of: Annotated[int, Meta(description="Those that were examined.")]
    texts: Annotated[int, Meta(description="Texts among its values.")]
    distinct: Annotated[int, Meta(description="About how many different texts there are; exact below 64.")]
    constant: Annotated[bool, Meta(description="Whether it had one value, where it was there.")]
    empty: Annotated[int, Meta(description="Those that have it as 0, false or an empty list.")]
    large: Annotated[int, Meta(description="Numbers beyond a million among its values.")]
    findings: Annotated[list[str], Meta(description="Codes of what health finds of it.")]


class FeaturesContract(msgspec.Struct):
    """The features of the last day or two, as far as one in a hundred contexts, actions or slots has them."""

    events: Annotated[int, Meta(description="Events that were examined.")]
    features: Annotated[list[FeatureContract], Meta(description="The commonest first, of 500 values at least.")]


async def get_features(app: App, call: Call) -> Reply:
    """GET rankloop/v1/features."""
    held, _ = await examined.load(app.blobs, call.loop.id)
    checkpoint, _ = await checkpoints.load(app.blobs, call.loop.id)
    whole = held.of(checkpoint.generation).whole
    return reply_json(FeaturesContract(whole.events, [_feature(one) for one in told(whole.features)]))


def _feature(one: Told) -> FeatureContract:
    counted = one.counted
    return FeatureContract(
        path=one.path,
        seen=counted.seen,
        of=one.of,
        texts=counted.texts,
        distinct=round(distinct.estimate(counted.distinct)),
        constant=counted.value is not None,
        empty=counted.empty,
        large=counted.large,
        findings=one.codes,
    )
