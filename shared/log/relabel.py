"""Turns a joined line into the one that other rules would have made of what it has observed."""

from __future__ import annotations

import re

import orjson

from shared.log.join import Rules, label_costs
from shared.log.records import APPRENTICE, ONLINE

HEAD = re.compile(rb'\{("_skipLearn":true,)?(?:"mode":"(\w+)",)?("holdback":true,)?("_label_cost")?')
"""How a joined line begins, before any caller's text: marks of what is not learned, and the single-slot label."""
_BEHIND_OUTCOME = b'],"Timestamp":'
"""What follows the outcome of an event: the first of its kind, since no string holds a quote without a backslash."""
_OUTCOMES, _BASELINES = b',"_outcomes":[', b',"_ba":['
"""What begins the slots' outcomes and their baselines: the last ones, and no keys of a caller's."""


def relabel(line: bytes, rules: Rules) -> bytes:
    """A joined line as the join would have written it by other rules, from what it has observed.

    What was observed stays what it was: a longer wait brings nothing, and a shorter one takes nothing away.

    Args:
        line: of the joined log; what is none comes back as it is.
        rules: see `Rules`.
    """
    head = HEAD.match(line)
    if head is None:
        return line
    mode = (head[2] or ONLINE.encode()).decode()
    if head[4]:
        if (end := line.find(_BEHIND_OUTCOME)) < 0:
            return line
        outcome = orjson.loads(line[: end + 1] + b"}")
        rewards = [o["v"] for o in outcome["o"] if "v" in o]
        outcome |= label_costs(rewards, outcome["_labelIndex"] == 0, mode, rules)
        return orjson.dumps(outcome)[:-1] + line[end + 1 :]
    if (start := line.rfind(_OUTCOMES)) < 0:
        return line
    outcomes = orjson.loads(line[start + len(_OUTCOMES) - 1 : -1])
    baselines = _baselines(line) if mode == APPRENTICE else [0] * len(outcomes)
    for outcome, baseline in zip(outcomes, baselines, strict=True):
        if outcome["_a"]:
            rewards = [o["v"] for o in outcome["_o"] if "v" in o]
            outcome |= label_costs(rewards, outcome["_a"][0] == baseline, mode, rules)
    return line[: start + len(_OUTCOMES) - 1] + orjson.dumps(outcomes) + b"}"


def _baselines(line: bytes) -> list[int]:
    start = line.rindex(_BASELINES) + len(_BASELINES) - 1
    found: list[int] = orjson.loads(line[start : line.index(b"]", start) + 1])
    return found
