"""Turns a loop's learning policy into what VW is started with, to learn and to serve (contract 3.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

from shared.contract.errors import ApiError
from shared.contract.numbers import as_float32
from shared.loops import options
from shared.loops.options import Option

DEFAULT_EPSILON = 0.2
_EPSILON = re.compile(r"(?<!\S)(--epsilon(?:\s+|=))(\S+)")


MAX_CROSSINGS = 64
"""Interactions times models: for each, VW looks through all namespaces that it has ever seen."""
_BITS = 18
_LARGE_TABLES = {22: 8, 21: 4, 20: 4, 19: 4}
"""How much dearer a weight is in a table of so many bits, which the processor cannot keep at hand."""
_FORGOTTEN = ("l1", "l2")
_ENSEMBLES = ("bag", "cover", "rnd")
"""Several models in one; what they draw as they learn is not in their file."""
_DRAWN = 9
"""How many times the work of a model each of `--rnd` is, where it draws a number for each interacted feature of more
than two: measured, up to 8.7 (docs/adr/0026)."""
_RANGED = "regcb"
"""The exploration that reads the range of costs; without it, it takes half of Personalizer's rewards for impossible."""
_IMPLIED = frozenset({"--cb_adf", "--cb_sample", "--csoaa_ldf", "multiline", "--csoaa_rank", "--no_predict"})


class Problem(StrEnum):
    """What a policy decides: one action, or one for each slot. The values are VW's reductions."""

    SINGLE_SLOT = "cb_explore_adf"
    MULTI_SLOT = "ccb_explore_adf"


_MERGED = frozenset(
    {
        *(Problem.SINGLE_SLOT, "cb_type", "epsilon", "first_only", "softmax", "lambda", "learning_rate", "power_t"),
        *(*options.INTERACTIONS, "ignore", "ignore_linear", "keep", "noconstant", "cb_min_cost", "cb_max_cost"),
    }
)
"""Options with which VW merges models and loses nothing. With others it does not say so, but it forgets what is no
weight: counts of `--squarecb`, `--first` and `--cover`, the table of `--marginal`, what is kept of `--l1`; or it makes
nonsense of them, as of other `--bit_precision` (docs/adr/0024)."""
DEFAULT_ARGUMENTS: Final = {
    problem: f"--{problem} --epsilon {DEFAULT_EPSILON} --power_t 0 -l 0.001 --cb_type mtr -q ::" for problem in Problem
}
"""Personalizer's own defaults, so that a loop that moves here behaves as it did."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A learning policy.

    Attributes:
        arguments: as they were sent.
        problem: what it decides.
        training: VW's arguments for a new model.
        lineage: the same less epsilon. Models of one lineage go on from each other; another one begins anew from the
            log, since VW would misread a model that was made with other options.
        resuming: what VW forgets when it loads a model, and must be told again.
        epsilon: the share of explored decisions, where the exploration has one by that name.
        interactions: the features' interactions, each as the initials of its namespaces, `:` for any.
        effort: how many times the work of one model with a usual table VW has with each action.
        marginal: whether VW keeps a table of the features of the namespaces in `i`, which takes long.
        ranged: whether its exploration reads the range of costs; see `within`.
        resumes: whether VW goes on from a saved model bit for bit as it would have without the file.
        merges: whether it makes one model of several that learned apart.
    """

    arguments: str
    problem: Problem
    training: str
    lineage: str
    resuming: str
    epsilon: float | None
    interactions: tuple[str, ...]
    effort: int
    marginal: bool
    ranged: bool
    resumes: bool
    merges: bool

    def within(self, reward_range: tuple[float, float]) -> Policy:
        """The policy as models of a loop of this reward range are made with it.

        Explorations that read the range of costs are told it, as far as the policy does not name one itself. Others are
        not: VW would keep the range in their models' files all the same, which would then be no longer those of
        releases before (docs/adr/0026). Another range makes another lineage: VW refuses a model whose own differs.

        Args:
            reward_range: the lowest and highest reward that learning sees.
        """
        if not self.ranged:
            return self
        low, high = reward_range
        bounds = {"--cb_min_cost": -high, "--cb_max_cost": -low}
        told = "".join(f" {name} {cost:.9g}" for name, cost in bounds.items() if f"{name} " not in self.training)
        return replace(self, training=self.training + told, lineage=self.lineage + told)

    def serving(self, exploration: float) -> str:
        """What overrides a model's own options when it serves: the exploration percentage is its epsilon."""
        return "" if self.epsilon is None else f"--epsilon {exploration:.9g}"


@lru_cache(maxsize=1024)
def read(arguments: str) -> Policy:
    """The policy of a command line from outside.

    Raises:
        ApiError: InvalidPolicyConfiguration when it holds an option that is not allowed, or is of no known problem.
    """
    given = options.read(arguments)
    values = {option.name: option.value for option in given}
    problems = [problem for problem in Problem if problem in values]
    if len(problems) != 1:
        message = "arguments must name one of --cb_explore_adf (single slot) and --ccb_explore_adf (multi-slot)."
        raise ApiError("InvalidPolicyConfiguration", message, "arguments")
    models = 1 + sum(int(values.get(name, 0)) for name in _ENSEMBLES)
    crossed = sum(option.name in options.INTERACTIONS for option in given)
    if models * crossed > MAX_CROSSINGS:
        message = f"arguments name {crossed} interactions for {models} models; {MAX_CROSSINGS} in all are served."
        raise ApiError("InvalidPolicyConfiguration", message, "arguments")
    if "rnd" in values and any(option.name in options.INTERACTIONS and len(option.value) > 2 for option in given):
        models += (_DRAWN - 1) * int(values["rnd"])
    effort = models * _LARGE_TABLES.get(int(values.get("bit_precision", _BITS)), 1)
    resumes = not any(name in values for name in _ENSEMBLES) and values.get("cb_type") != "dr"
    return Policy(
        arguments,
        problems[0],
        _line(given),
        _line([option for option in given if option.name != "epsilon"]),
        _line([option for option in given if option.name in _FORGOTTEN]),
        as_float32(float(values["epsilon"])) if "epsilon" in values else None,
        tuple(option.value for option in given if option.name in options.INTERACTIONS),
        effort,
        "marginal" in values,
        _RANGED in values,
        resumes,
        resumes and _MERGED.issuperset(values),
    )


def of_model(arguments: str) -> Policy:
    """The policy that a model file says it was made with.

    Args:
        arguments: VW's own account of them, which names what follows from others, too.

    Raises:
        ApiError: as `read`.
    """
    words = arguments.split()
    implied = _IMPLIED | ({f"--{Problem.SINGLE_SLOT}"} if f"--{Problem.MULTI_SLOT}" in words else set())
    return read(" ".join(word for word in words if word not in implied))


def resumes(arguments: str) -> bool:
    """Whether VW goes on bit for bit from a saved model of these arguments, as far as this release knows."""
    try:
        return read(arguments).resumes
    except ApiError:
        return False  # of options that only a later release knows


def with_exploration(arguments: str, exploration: float) -> str:
    """The arguments with another epsilon, where they have one; else as they are (contract 3.2)."""
    return _EPSILON.sub(rf"\g<1>{exploration:.9g}", arguments)


def _line(given: Sequence[Option]) -> str:
    return " ".join(f"--{name} {value}".rstrip() for name, value in given)
