"""Turns a policy or a model from outside into the certainty that VW lives through it, or a refusal.

VW ends its process over some combinations of options that are harmless each. So the first start, a few lessons, the
way through a file and the first decisions happen in a process of their own, before anything is stored.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import closing
from typing import Final

import msgspec

from shared import child
from shared.learning.model import Learner, ModelError, ServingModel

PATIENCE = 30.0
"""Seconds that the process may take; of the second that it does take, most is its start."""
_LESSONS = 50


class Trial(msgspec.Struct):
    """What is tried.

    Attributes:
        training, resuming, serving: arguments; see `Learner` and `ServingModel`.
        multi_slot: whether it is to decide for slots.
        model: a model to begin with, base64, or None.
    """

    training: str
    resuming: str
    serving: str
    multi_slot: bool
    model: str | None = None


class Verdict(msgspec.Struct):
    """What came of it: VW's account of the arguments, or the problem."""

    arguments: str = ""
    problem: str = ""


async def run(training: str, resuming: str, serving: str, multi_slot: bool, model: bytes | None = None) -> str:
    """Try a policy, or a model under a policy; see `verdicts`.

    Returns:
        VW's own account of the arguments that were learned with.

    Raises:
        ModelError: VW refuses it, dies of it, takes too long, or makes no distributions with it.
    """
    data = None if model is None else base64.b64encode(model).decode()
    [found] = await verdicts([Trial(training, resuming, serving, multi_slot, data)])
    if found.problem:
        raise ModelError(found.problem)
    return found.arguments


async def verdicts(trials: Sequence[Trial]) -> list[Verdict]:
    """Try some, in one process for all; takes about a second.

    Where the process does not live through them nobody knows by which it was: then each gets one of its own.
    """
    if not trials:
        return []
    try:
        told = await child.compute(answer, msgspec.json.encode(trials), PATIENCE, nice=0)  # a caller waits for it
        return msgspec.json.decode(told, type=list[Verdict])
    except TimeoutError:
        problem = "Vowpal Wabbit does not come to an end with it"
    except child.ChildError:
        problem = "Vowpal Wabbit ends its process over it"
    if len(trials) == 1:
        return [Verdict(problem=problem)]
    return [found for one in trials for found in await verdicts([one])]


_CONTEXT: Final = '"FromUrl":[{"guest":"%s","visits":%d}],"_multi":[%s]%s'
_ACTIONS: Final = ",".join(
    f'{{"_tag":"{name}","i":{{"constant":1,"id":"{name}"}},"j":[{{"kind":"{name}","price":{price}}}]}}'
    for name, price in (("a", 1), ("b", 20), ("c", 0.5))
)
_SLOTS: Final = ',"_slots":[{"_id":"s","_tag":"seed=%s","sj":[{"size":1}]},{"_id":"t","_tag":"seed=%s","sj":[]}]'


def _example(n: int, multi_slot: bool) -> str:
    return "{" + _CONTEXT % (f"g{n % 5}", n, _ACTIONS, _SLOTS % (n, -n) if multi_slot else "") + "}"


def _lesson(n: int, multi_slot: bool) -> bytes:
    cost, chosen = -float(n % 2), n % 3
    if multi_slot:
        others = [a for a in range(3) if a != chosen]
        outcomes = (
            f'[{{"_label_cost":{cost},"_id":"s","_a":{[chosen, *others]},"_p":[0.5,0.25,0.25],"_o":[]}},'
            f'{{"_label_cost":{cost},"_id":"t","_a":{others},"_p":[0.5,0.5],"_o":[]}}]'
        )
        return f'{{"EventId":"{n}","c":{_example(n, True)},"_outcomes":{outcomes}}}'.encode()
    label = f'"_label_cost":{cost},"_label_probability":0.5,"_label_Action":{chosen + 1},"_labelIndex":{chosen}'
    return f'{{{label},"EventId":"{n}","a":[1,2,3],"c":{_example(n, False)},"p":[0.5,0.25,0.25]}}'.encode()


def answer(message: bytes) -> bytes:
    """The verdicts on encoded trials, encoded."""
    return msgspec.json.encode([verdict(one) for one in msgspec.json.decode(message, type=list[Trial])])


def verdict(trial: Trial) -> Verdict:
    """Try it here and now."""
    model = base64.b64decode(trial.model) if trial.model else None
    try:
        with closing(Learner(trial.training, model, trial.resuming)) as learner:
            _serve(learner.save(), trial)
            for n in range(_LESSONS):
                learner.learn(_lesson(n, trial.multi_slot))
            with closing(Learner(trial.training, learner.save(), trial.resuming)) as resumed:
                _serve(resumed.save(), trial)
            return Verdict(learner.arguments)
    except ModelError as e:
        return Verdict(problem=str(e))


def _serve(data: bytes, trial: Trial) -> None:
    with closing(ServingModel(data, trial.serving)) as model:
        if model.multi_slot is not trial.multi_slot:
            raise ModelError(f"it does not explore {'slots' if trial.multi_slot else 'actions'}")
        for n in range(_LESSONS):
            example = _example(n, trial.multi_slot).encode()
            _ = model.score_slots(example) if trial.multi_slot else model.score(example)
