"""Turns a loop's policy into a field of others to compare with it, and what these are worth into those that go on.

Successive halving (Jamieson and Talwalkar, 2016): all of the field replay the beginning of the part of the log that is
for choosing, the better third of them more of it, and the best all of it. Nothing here reads the rest of the log.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, product
from typing import Final, NamedTuple

from shared.contract.configurations import MAX_ARGUMENTS
from shared.contract.errors import ApiError
from shared.evaluation.estimators import Estimates
from shared.evaluation.namespaces import USUAL, Namespaces
from shared.evaluation.work import interacted
from shared.loops import options, policy
from shared.loops.options import INTERACTIONS, Option

SHARES: Final = (0.125, 0.375, 1.0)
"""How much of the part for choosing a policy has replayed at the end of each round."""
FACTOR: Final = 3
"""One in so many goes on from a round."""
FOUND: Final = 5
"""Policies that go on from the last one, to be judged by the rest of the log."""
MOST: Final = 250_000
"""Interacted features of an event: a millisecond of a call, and a tenth of what it may cost (docs/adr/0006)."""

_IMPLIED: Final = (Option("learning_rate", "0.5"), Option("power_t", "0.5"), Option("cb_type", "mtr"))
"""What a policy says of learning if it says nothing."""
_RATES: Final = ("-l 0.5", "-l 0.05", "-l 0.1 --power_t 0", "-l 0.01 --power_t 0", "-l 0.001 --power_t 0")
_TYPES: Final = ("mtr", "ips")
_EXPLORATION: Final = frozenset(
    {"epsilon", "first_only", "first", "bag", "greedify", "cover", "psi", "nounif", "softmax", "lambda", "squarecb"}
    | {"gamma_scale", "gamma_exponent", "rnd", "rnd_alpha", "rnd_invlambda", "regcb", "mellowness", "synthcover"}
    | {"synthcoverpsi"}
)
_ADAPTIVE: Final = "--squarecb"
"""The exploration that is tried besides the loop's own: it explores less the more it knows, and models resume and are
drawn like the default's. Less exploration would always look better here: what it costs later is not in the log."""


class Found(NamedTuple):
    """A policy of the field.

    Attributes:
        name: `Hyper<n>` where the features interact as in the loop's own policy, else `Inter-len<n>` (contract 5.10).
        arguments: as a loop takes them.
    """

    name: str
    arguments: str


def first(arguments: str, namespaces: Namespaces = USUAL) -> list[Found]:
    """The field for a loop: other interactions of features, learning rates, cb types and explorations.

    Args:
        arguments: the loop's own policy, which is not among them; all else that it says is kept.
        namespaces: of the features that are to interact.
    """
    own = options.read(arguments)
    learning = {option.name for option in _IMPLIED}
    kept = [option for option in own if option.name not in INTERACTIONS | _EXPLORATION | learning]
    exploration = _spelled(option for option in own if option.name in _EXPLORATION)
    interactions = _spelled(option for option in own if option.name in INTERACTIONS)
    rates = [f"--cb_type {kind} {rate}" for rate in _RATES for kind in _TYPES]
    # squarecb reads costs, which of these types only mtr learns.
    ways = [*product([exploration], rates), *product([_ADAPTIVE], [rate for rate in rates if " mtr " in rate])]
    found: list[Found] = []
    seen, numbers = [_meaning(own)], {"Hyper": 0, "Inter-len": 0}
    for crossed in [interactions, *_crossings(namespaces)]:
        kind = "Hyper" if crossed == interactions else "Inter-len"
        for explored, learned in ways:
            made = " ".join(f"{_spelled(kept)} {explored} {learned} {crossed}".split())
            if _valid(made) and (meaning := _meaning(options.read(made))) not in seen:
                seen.append(meaning)
                numbers[kind] += 1
                found.append(Found(f"{kind}{numbers[kind]}", made))
    return found


def survivors(round: int, standing: Mapping[str, Estimates]) -> list[str]:
    """The names of those that go on from a round, the best first.

    Args:
        round: its number, from 0 on; see `SHARES`.
        standing: what each policy would have earned so far, by its name.
    """
    last = round == len(SHARES) - 1
    kept = FOUND if last else max(FOUND, math.ceil(len(standing) / FACTOR))
    # Of a policy that would have drawn nothing that was drawn, nothing is known.
    worth = {name: (one.matched > 0, one.snips.value) for name, one in standing.items()}
    return sorted(worth, key=worth.__getitem__, reverse=True)[:kept]


def _valid(arguments: str) -> bool:
    """Whether a loop takes such a policy."""
    try:
        policy.read(arguments)
    except ApiError:
        return False
    return len(arguments) <= MAX_ARGUMENTS


def _meaning(given: Sequence[Option]) -> list[Option]:
    """What is alike for policies that are."""
    names = {option.name for option in given}
    return sorted([*given, *(option for option in _IMPLIED if option.name not in names)])


def _spelled(given: Iterable[Option]) -> str:
    return " ".join(f"--{name} {value}".rstrip() for name, value in given)


def _crossings(namespaces: Namespaces) -> Iterator[str]:
    """Interactions that may help, the simpler ones first; what would cost too much is left out.

    An action is told by its features or by its id: by features a policy knows of new actions, too; by the id it knows
    what no feature says. Of a context one, two or three features are crossed with either.
    """
    # Of others a policy cannot speak.
    context = [initial for initial in namespaces.context if initial.isascii() and initial.isalnum()]
    features = [one for one in namespaces.action if one != "i" and one.isascii() and one.isalnum()]
    yield ""
    if interacted("::", namespaces) <= MOST:
        yield "-q ::"
    for action in (features, ["i"]):
        deeper: list[list[str]] = []
        for order in (1, 2, 3):
            deeper += [[*of, one] for of in combinations_with_replacement(context, order) for one in action]
            if deeper and sum(interacted(each, namespaces) for each in deeper) <= MOST:
                yield _options(deeper)


def _options(crossed: Sequence[Sequence[str]]) -> str:
    names = {2: "-q", 3: "--cubic"}
    return " ".join(f"{names.get(len(each), '--interactions')} {''.join(each)}" for each in crossed)
