"""Turns a policy and the features of a log into the time that an event of it takes, and that into the size of a piece.

A piece that outlives the time which the host gives a call is begun again and again, and never comes to an end. So a
shard of the log is no larger than what the dearest group of policies gets through in a good part of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from shared.evaluation.namespaces import Namespaces
from shared.loops import options
from shared.loops.options import INTERACTIONS

SECONDS: Final = 120.0
"""Of a core that a piece may take: a machine with other work is a few times slower, and `child.LASTS` ends it."""
_FEATURE: Final = 400e-9
"""Seconds to read a feature of an event, decide by it and learn it."""
_INTERACTED: Final = 30e-9
"""The same for one that VW makes of others: 13 to 38 ns, as measured, the more the larger the table of weights."""


def interacted(crossed: Sequence[str], namespaces: Namespaces) -> int:
    """How many features come of an interaction in an event; VW makes each set of those of a namespace once.

    Args:
        crossed: the initials of its namespaces; `:` for any.
        namespaces: of the event.
    """
    counts: Mapping[str, int] = {**namespaces.context, **namespaces.action}
    total = sum(counts.values())
    made = 1
    for initial in set(crossed):
        times = crossed.count(initial)
        made *= math.comb((total if initial == ":" else counts.get(initial, 0)) + times - 1, times)
    return made


def seconds(policies: Iterable[str], namespaces: Namespaces) -> float:
    """How long policies take to decide and learn an event, one after the other.

    Args:
        policies: their arguments.
        namespaces: of the event.
    """
    linear = sum([*namespaces.context.values(), *namespaces.action.values()])
    spent = 0.0
    for arguments in policies:
        crossed = [one.value for one in options.read(arguments) if one.name in INTERACTIONS]
        spent += _FEATURE * linear + _INTERACTED * sum(interacted(one, namespaces) for one in crossed)
    return spent
