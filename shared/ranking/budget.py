"""Turns a request's feature counts and the policy that scores it into leave to score it, or a refusal.

VW makes combinatorially many features of a request, and reading one takes time as well: without a budget one request
could hold a core for seconds. What each thing costs was measured (docs/adr/0006), in units of one interacted feature
in a long run of them, which takes VW 0.6 to 0.8 ns; `make fuzz` holds real requests against it.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from shared.contract.errors import ApiError
from shared.loops.policy import Policy, Problem
from shared.ranking.features import Action, Context
from shared.ranking.walk import Namespaces

MAX_WORK = 30_000_000
"""What a request may cost: about 20 ms of one core."""
_NODE = 900
"""What a member, an array item or an object costs until VW has it."""
_BYTE = 10
"""The same for a byte of the example: written, read by VW, compressed for the log."""
_PASS = 700
"""What a model's pass over an action costs, besides its features."""
_LINEAR = 10
"""What a feature costs in a pass by itself: VW copies it and looks its weight up."""
_MARGINAL = 4000
"""The same of a feature of which VW keeps a table."""
_HIGHER = 6
"""What an interacted feature of more than three costs: up to three VW has loops of their own."""
_TURN = 6
"""What the beginning of VW's innermost loop over an interaction's features costs."""
_TERM = 13
"""What a combination of namespaces costs that both have features."""
_LOOK = 1
"""What it costs to look whether they have: for a wildcard VW goes through all namespaces that it has ever seen."""
_TERM_MADE = 1000
"""What a combination costs when VW makes the list of them anew, for a namespace that it has not seen before."""
_SLOT = 7
"""How much dearer a pass is in multi-slot: VW makes the actions' examples anew for each slot, and its own interactions
with the slot besides."""
_SLOT_TERMS = 6
"""The same for the combinations of namespaces."""
_SLOT_LISTS = 4
"""The same for the lists of them."""


def check_body(body: bytes) -> None:
    """Refuse a body that no budget admits, before it takes its time: 3 MB or more.

    Raises:
        ApiError: PayloadSizeExceeded.
    """
    if (size := len(body)) > (most := MAX_WORK // _BYTE):
        raise ApiError("PayloadSizeExceeded", f"The body has {size} bytes; at most {most} are allowed for this call.")


def check_budget(
    context: Context,
    actions: Sequence[Action],
    policy: Policy,
    slots: Sequence[Context] | None = None,
    met: frozenset[str] = frozenset(),
) -> frozenset[str]:
    """Refuse a request that would take more than about 20 ms.

    Args:
        context: what is the same for all actions.
        actions: what is to be scored.
        policy: of the model that scores.
        slots: the slots' features in multi-slot, no more than there are actions. Each scores the actions that are left.
        met: initials of the namespaces that the model has met.

    Returns:
        The initials of the request's own namespaces.

    Raises:
        ApiError: InvalidRankRequest.
    """
    parts: list[Action | Context] = [context, *actions, *(slots or ())]
    listed = [action.namespaces for action in actions]
    distinct = frozenset(listed)
    beside, initials = _beside(context.namespaces, frozenset([s.namespaces for s in slots or ()]), distinct)
    shapes = Counter(listed) if len(distinct) > 1 else {listed[0]: len(listed)}  # mostly one: counting takes longer
    known = len(initials | met)
    work = _NODE * sum([part.nodes for part in parts]) + _BYTE * sum([len(part.example) for part in parts])
    if not initials <= met:
        work += _listing(known, policy.interactions, policy.problem)
    each = [
        (_pass(beside, shape, known, policy.interactions, policy.marginal, policy.problem), number)
        for shape, number in shapes.items()
    ]
    work += policy.effort * (_over_slots(each, len(slots)) if slots else sum([cost * number for cost, number in each]))
    if work > MAX_WORK:
        features = sum(_counts(beside).values()) + max(sum(_counts(shape).values()) for shape in shapes)
        message = (
            f"The request has up to {features} features for each of its {len(actions)} actions: {work} units of work "
            f"under the loop's policy, of which {MAX_WORK} are served. Send fewer features, or fewer actions a call."
        )
        raise ApiError("InvalidRankRequest", message, "actions")
    return initials


@functools.lru_cache(maxsize=4096)
def _beside(
    context: Namespaces, slots: frozenset[Namespaces], actions: frozenset[Namespaces]
) -> tuple[Namespaces, frozenset[str]]:
    """The features that an action is scored with at most: the context's and a slot's; and all namespaces' initials."""
    counts = _counts(context)
    most = Counter[str]()
    for slot in slots:
        most |= _counts(slot)
    counts += most
    initials = frozenset(counts).union(*map(_counts, actions))
    return frozenset(counts.items()), initials


def _over_slots(each: Sequence[tuple[int, int]], slots: int) -> int:
    """What all slots' passes over actions cost, of which so many cost so much.

    The first slot passes over all actions, each next one over one less: the cheapest one is gone, for all we know.
    """
    total, left = 0, sum(number for _, number in each)
    for cost, number in sorted(each, reverse=True):
        for _ in range(number):
            total += cost * min(slots, left)
            left -= 1
    return total


def _counts(namespaces: Namespaces) -> Counter[str]:
    return Counter(dict(namespaces))


@functools.lru_cache(maxsize=4096)
def _pass(
    beside: Namespaces,
    action: Namespaces,
    known: int,
    interactions: tuple[str, ...],
    marginal: bool,
    problem: Problem,
) -> int:
    """What a pass of one model over an action costs, when VW knows so many namespaces."""
    counts = _counts(beside) + _counts(action)
    features = _LINEAR * counts.total() + (_MARGINAL * counts["i"] if marginal else 0)
    terms = 0
    for spec in interactions:
        crossed = Crossed(spec, counts)
        features += (1 if len(spec) <= 3 else _HIGHER) * crossed.features + _TURN * crossed.turns
        terms += _TERM * crossed.terms + _LOOK * _terms(spec, known)
    if problem is Problem.MULTI_SLOT:
        return _PASS + _SLOT * features + _SLOT_TERMS * terms
    return _PASS + features + terms


@functools.lru_cache(maxsize=4096)
def _listing(known: int, interactions: tuple[str, ...], problem: Problem) -> int:
    """What the lists of combinations cost that VW makes when it gets to know a namespace."""
    terms = sum(_terms(spec, known) for spec in interactions if ":" in spec)
    return _TERM_MADE * terms * (_SLOT_LISTS if problem is Problem.MULTI_SLOT else 1)


def _terms(spec: str, namespaces: int) -> int:
    """How many combinations of so many namespaces an interaction stands for."""
    wild = spec.count(":")
    return math.comb(namespaces + wild - 1, wild) if wild else 1


class Crossed:
    """What VW makes of an interaction.

    Args:
        spec: its namespaces' initials, with `:` for any; no more than one where it has more than two.
        counts: the features by the initial of their namespace; none without features.

    Attributes:
        features: how many interacted features VW makes at most; without `:`, just as many.
        turns: how often its innermost loop begins at most.
        terms: of how many combinations of namespaces.
    """

    def __init__(self, spec: str, counts: Mapping[str, int]) -> None:
        total, fixed = sum(counts.values()), sorted(spec.replace(":", ""))
        named = _made(fixed, counts)
        wild = len(spec) - len(fixed)
        self.terms = _terms(spec, len(counts)) if named and counts else 0
        self.features = named * math.comb(total + wild - 1, wild) if total else 0
        if not wild:
            self.turns = _made(fixed[:-1], counts) if named else 0
        elif fixed:
            self.turns = len(counts) * named + (total * _made(fixed[:-1], counts) if named else 0)
        else:
            self.turns = len(counts) * total


def _made(initials: Sequence[str], counts: Mapping[str, int]) -> int:
    """How many ways there are to take a feature of each namespace; of one that stands there m times, any m once."""
    ways = 1
    for initial in set(initials):
        times, number = initials.count(initial), counts.get(initial, 0)
        ways *= math.comb(number + times - 1, times) if number else 0
    return ways
