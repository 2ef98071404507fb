"""Turns a request's feature counts and the policy that scores it into leave to score it, or a refusal.

VW takes 0.6 to 0.8 ns for each interacted feature, and makes combinatorially many: without a budget one request could
hold a core for seconds (docs/adr/0006).
"""

from __future__ import annotations

import functools
import math
import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

from shared.contract.errors import ApiError
from shared.loops.policy import Policy
from shared.ranking.features import Action, Context

MAX_WORK = 30_000_000
"""What a request may cost, in interacted features: about 20 ms of one core."""
_LINEAR = 10
"""What a feature costs by itself: VW reads it, hashes it and moves it about."""
_MARGINAL = 4000
"""What a feature costs of which VW keeps a table."""
_SLOT = 10
"""How much dearer everything is in multi-slot: VW makes the actions' examples anew for each slot, and its own
interactions with the slot besides."""


def check_budget(
    context: Context, actions: Sequence[Action], policy: Policy, slots: Sequence[Context] | None = None
) -> None:
    """Refuse a request that would take VW more than about 20 ms.

    Args:
        context: what is the same for all actions.
        actions: what is to be scored.
        policy: of the model that scores.
        slots: the slots' features in multi-slot; each scores all actions.

    Raises:
        ApiError: InvalidRankRequest.
    """
    largest = context.features + max([a.features for a in actions]) + (max([s.features for s in slots]) if slots else 0)
    times = len(actions) * policy.effort * (_SLOT * len(slots) if slots else 1)
    work = times * _at_most(largest, policy.interactions, policy.marginal)
    if work > MAX_WORK:
        # As if each interaction crossed everything with everything: most name namespaces, so count by those.
        work = times * _work_by_namespace(_largest(context, actions, slots or ()), policy)
    if work > MAX_WORK:
        message = (
            f"The request has up to {largest} features for each of its {len(actions)} actions: {work} units of work "
            f"under the loop's policy, of which {MAX_WORK} are served. Send fewer features, or fewer actions a call."
        )
        raise ApiError("InvalidRankRequest", message, "actions")


@functools.lru_cache(maxsize=4096)
def _at_most(features: int, interactions: tuple[str, ...], marginal: bool) -> int:
    """What an action of so many features costs at most, however they are spread over namespaces."""
    made = sum(_weight(spec) * math.comb(features + len(spec) - 1, len(spec)) for spec in interactions)
    return _LINEAR * features + made + (_MARGINAL * features if marginal else 0)


def _largest(context: Context, actions: Sequence[Action], slots: Sequence[Context]) -> Counter[str]:
    """The features that an action has at most, by the initial of their namespace."""
    own = [_counts([orjson.loads(action.example)], "_") for action in actions]
    more = [_counts(orjson.loads(slot.example), "s") for slot in slots]
    counts = _counts(orjson.loads(context.example), "F") + functools.reduce(operator.or_, own)
    return counts + functools.reduce(operator.or_, more, Counter[str]())


def _work_by_namespace(counts: Counter[str], policy: Policy) -> int:
    total = counts.total()
    made = 0
    for spec in policy.interactions:
        # Of a namespace that stands in it m times, or of any, VW takes each m features once.
        sizes = {initial: total if initial == ":" else counts[initial] for initial in spec}
        each = [math.comb(size + (m := spec.count(i)) - 1, m) if size else 0 for i, size in sizes.items()]
        made += _weight(spec) * math.prod(each)
    return _LINEAR * total + made + (_MARGINAL * counts["i"] if policy.marginal else 0)


def _weight(spec: str) -> int:
    """What one interacted feature costs: up to three namespaces VW has loops of their own for."""
    return 1 if len(spec) <= 3 else 6


def _counts(objects: list[Any], initial: str) -> Counter[str]:
    """Features by the initial of the namespace that VW puts them in (contract 6)."""
    counts: Counter[str] = Counter()
    for given in objects:
        for key, value in given.items():
            if isinstance(value, dict):
                counts += _counts([value], key[0])
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                counts += _counts(value, key[0])
            elif isinstance(value, list):
                counts[key[0]] += len(value)
            else:
                counts[initial] += 1
    return counts
