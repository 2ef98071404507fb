"""Turns a learning policy from outside into the VW options it names, or refuses it; nothing else reaches VW's start.

A VW command line can read and write files, open sockets and take any amount of memory, so what is not in the table
below is refused (contract 3.2; docs/adr/0011). Each option carries the check of its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from shared.contract.errors import ApiError

Check = Callable[[str], bool]
_FLAG: Final[Check | None] = None


class Option(NamedTuple):
    """A VW option with its value; an empty one for a flag."""

    name: str
    value: str


_NUMBER = re.compile(r"-?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(?:[eE][-+]?\d{1,2})?", re.ASCII)


def _number(low: float, high: float) -> Check:
    return lambda text: _NUMBER.fullmatch(text) is not None and low <= float(text) <= high


def _whole(low: int, high: int) -> Check:
    return lambda text: re.fullmatch(r"\d{1,9}", text, re.ASCII) is not None and low <= int(text) <= high


def _one_of(*values: str) -> Check:
    return lambda text: text in values


def _initials(shortest: int, longest: int, wild: int) -> Check:
    # No other characters: VW would read a value that begins with a hyphen as an option of its own. And few wildcards:
    # for each one VW goes through all namespaces that it has ever seen, so four take seconds after some odd requests.
    pattern = re.compile(rf"[A-Za-z0-9:]{{{shortest},{longest}}}", re.ASCII)
    return lambda text: pattern.fullmatch(text) is not None and text.count(":") <= wild


_RATE = _number(0, 1000)
_SHARE = _number(0, 1)
MAX_BITS = 22
"""Of the weight table: 2^22 weights with their state are 64 MB."""
MAX_POLICIES = 20
"""Of `--bag`, `--cover` and `--rnd`: each one scores every action again."""
MAX_ORDER = 6
MAX_INTERACTIONS = 32
"""Options that name interactions."""

_ALLOWED: Final[dict[str, Check | None]] = {
    # Left out though harmless to others: what VW forgets when it loads a model (initial_t, decay_learning_rate,
    # leave_duplicate_interactions, marginal's own), what gives no distribution, at least untrained (regcbopt, elim,
    # sm), and what one large feature ruins for ever (coin, ftrl).
    # the problem
    "cb_explore_adf": _FLAG,
    "ccb_explore_adf": _FLAG,
    "cb_type": _one_of("mtr", "ips", "dr", "dm"),
    "rank_all": _FLAG,
    "cb_min_cost": _number(-1000, 1000),
    "cb_max_cost": _number(-1000, 1000),
    # exploration
    "epsilon": _SHARE,
    "first_only": _FLAG,
    "first": _whole(0, 10**9 - 1),
    "bag": _whole(1, MAX_POLICIES),
    "greedify": _FLAG,
    "cover": _whole(1, MAX_POLICIES),
    "psi": _number(0, 1000),
    "nounif": _FLAG,
    "softmax": _FLAG,
    "lambda": _number(-1e6, 1e6),
    "squarecb": _FLAG,
    "gamma_scale": _number(0, 1e4),
    "gamma_exponent": _number(0, 2),
    "rnd": _whole(1, MAX_POLICIES),
    "rnd_alpha": _number(0, 1000),
    "rnd_invlambda": _number(0, 1000),
    "regcb": _FLAG,
    "mellowness": _number(0, 1000),
    "synthcover": _FLAG,
    "synthcoverpsi": _number(0, 1000),
    "random_seed": _whole(0, 10**9 - 1),
    # learning
    "learning_rate": _RATE,
    "power_t": _number(-10, 10),
    "l1": _SHARE,
    "l2": _SHARE,
    "sgd": _FLAG,
    "adaptive": _FLAG,
    "invariant": _FLAG,
    "normalized": _FLAG,
    # features
    "bit_precision": _whole(8, MAX_BITS),
    "hash": _one_of("all", "strings"),
    "noconstant": _FLAG,
    "constant": _number(-1000, 1000),
    "quadratic": _initials(2, 2, wild=2),
    "cubic": _initials(3, 3, wild=1),
    "interactions": _initials(2, MAX_ORDER, wild=1),
    "ignore": _initials(1, 1, wild=0),
    "ignore_linear": _initials(1, 1, wild=0),
    "keep": _initials(1, 1, wild=0),
    "marginal": _one_of("i"),
}
INTERACTIONS: Final = frozenset({"quadratic", "cubic", "interactions"})
_REPEATABLE: Final = INTERACTIONS | {"ignore", "ignore_linear", "keep"}
_SHORT: Final = {"q": "quadratic", "l": "learning_rate", "b": "bit_precision"}
_MEANINGLESS: Final = frozenset({"json", "dsjson", "quiet", "save_resume", "preserve_performance_counters"})
"""Flags that the original's own policies carry (contract 3.2) and that say how VW is driven, which is not theirs."""


def read(arguments: str) -> list[Option]:
    """The options of a learning policy, in its order; short names become long ones.

    Raises:
        ApiError: InvalidPolicyConfiguration when one is not allowed, or its value is not what it should be.
    """
    options = []
    words = iter(arguments.split())
    for word in words:
        name, value = _split(word)
        if name in _MEANINGLESS and value is None:
            continue
        if name not in _ALLOWED:
            raise _refused(f"the option {word[:64]!r} is not allowed")
        check = _ALLOWED[name]
        if check is None:
            if value is not None:
                raise _refused(f"the option --{name} takes no value")
            options.append(Option(name, ""))
            continue
        if value is None:
            value = next(words, "")
        if not check(value):
            raise _refused(f"the option --{name} cannot be {value[:64]!r}")
        options.append(Option(name, value))
    values: dict[str, str] = {}
    for name, value in options:
        if name not in _REPEATABLE and values.setdefault(name, value) != value:
            raise _refused(f"the option --{name} cannot be both {values[name]!r} and {value!r}")
    if sum(option.name in INTERACTIONS for option in options) > MAX_INTERACTIONS:
        raise _refused(f"there may be {MAX_INTERACTIONS} interactions at most")
    return options


def _split(word: str) -> tuple[str, str | None]:
    """An option's long name, and the value that hangs on it: `--l1=0.1`, `-q::`."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        return name, value if equals else None
    if word.startswith("-") and word[1:2] in _SHORT:
        return _SHORT[word[1]], word[2:].removeprefix("=") or None
    raise _refused(f"the option {word[:64]!r} is not allowed")


def _refused(problem: str) -> ApiError:
    return ApiError("InvalidPolicyConfiguration", f"arguments: {problem}.", "arguments")
