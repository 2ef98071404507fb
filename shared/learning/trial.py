"""Turns a policy or a model from outside into the certainty that VW lives through it, or a refusal.

VW ends its process over some combinations of options that are harmless each. So the first start, a few lessons, the
way through a file and the first decisions happen in a process of their own, before anything is stored.
"""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from shared import child
from shared.learning.model import Learner, ModelError, ServingModel

PATIENCE = 30.0
"""Seconds that the process may take; most of it is its start."""
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
    """Try a policy, or a model under a policy, in a process of its own; takes about a second.

    Returns:
        VW's own account of the arguments that were learned with.

    Raises:
        ModelError: VW refuses it, dies of it, takes too long, or makes no distributions with it.
    """
    data = None if model is None else base64.b64encode(model).decode()
    trial = msgspec.json.encode(Trial(training, resuming, serving, multi_slot, data))
    try:
        told = await child.compute(answer, trial, PATIENCE, nice=0)  # a caller waits for it
    except TimeoutError as e:
        raise ModelError("Vowpal Wabbit does not come to an end with it") from e
    except child.ChildError as e:
        raise ModelError("Vowpal Wabbit ends its process over it") from e
    verdict = msgspec.json.decode(told, type=Verdict)
    if verdict.problem:
        raise ModelError(verdict.problem)
    return verdict.arguments


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
    """The verdict on an encoded trial, encoded."""
    return msgspec.json.encode(verdict(msgspec.json.decode(message, type=Trial)))


def verdict(trial: Trial) -> Verdict:
    """Try it here and now."""
    try:
        learner = Learner(trial.training, base64.b64decode(trial.model) if trial.model else None, trial.resuming)
        _serve(learner.save(), trial)
        for n in range(_LESSONS):
            learner.learn(_lesson(n, trial.multi_slot))
        _serve(Learner(trial.training, learner.save(), trial.resuming).save(), trial)
        return Verdict(learner.arguments)
    except ModelError as e:
        return Verdict(problem=str(e))


def _serve(data: bytes, trial: Trial) -> None:
    model = ServingModel(data, trial.serving)
    if model.multi_slot is not trial.multi_slot:
        raise ModelError(f"it does not explore {'slots' if trial.multi_slot else 'actions'}")
    for n in range(_LESSONS):
        example = _example(n, trial.multi_slot).encode()
        _ = model.score_slots(example) if trial.multi_slot else model.score(example)
