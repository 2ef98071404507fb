"""Turns a world into what plain Vowpal Wabbit earns in it: the reference where no published figure is of our layout.

The examples are those that Rank builds, and nothing else is Rankloop's: one Workspace from beginning to end, no file,
its distribution drawn from with Python's own chance, the label written here.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import orjson
from vowpalwabbit import Workspace

from bench.learning.situation import Situation
from shared.contract.requests import rank_request
from shared.ranking.features import example, sanitise_action, sanitise_context


def play(arguments: str, situations: Iterable[Situation], step: int, chance: random.Random) -> list[float]:
    """What VW earns, event by event.

    Args:
        arguments: VW's own.
        situations: of one slot.
        step: events after which those that went before are learned.
        chance: what is drawn.
    """
    workspace = Workspace(f"{arguments} --dsjson --quiet")
    rewards: list[float] = []
    waiting: list[str] = []
    for situation in situations:
        request = rank_request(situation.body("x"))
        actions = [sanitise_action(bytes(raw), n) for n, raw in enumerate(request.actions)]
        built = example(sanitise_context(bytes(request.context_features)), actions).decode()
        ids = list(range(1, len(actions) + 1))
        pmf: Sequence[float] = workspace.predict(f'{{"EventId":"","a":{ids},"c":{built},"p":{[0.0] * len(ids)}}}')
        chosen = chance.choices(range(len(pmf)), pmf)[0]
        reward = situation.rewards[actions[chosen].id]
        rewards.append(reward)
        label = {
            "_label_cost": -reward,
            "_label_probability": pmf[chosen],
            "_label_Action": chosen + 1,
            "_labelIndex": chosen,
        }
        head = orjson.dumps(label).decode()[:-1]
        waiting.append(f'{head},"EventId":"","a":{ids},"c":{built},"p":{list(pmf)}}}')
        if len(waiting) == step:
            for line in waiting:
                workspace.learn(line)
            waiting.clear()
    workspace.finish()
    return rewards
