"""Whether VW lives through a policy or a model from outside, which is tried in a process of its own."""

from __future__ import annotations

import base64
import sys

import msgspec
import pytest

from shared.child import ChildError
from shared.learning import trial
from shared.learning.model import ModelError
from shared.learning.trial import Trial, Verdict
from shared.loops import policy
from shared.loops.policy import DEFAULT_EPSILON
from tests.unit.ranking.trained import QUICK_SLOTS, SINGLE, SLOTS, trained_model


def trial_of(arguments: str, model: bytes | None = None, multi_slot: bool | None = None) -> Trial:
    """What the policy's PUT tries."""
    learned = policy.read(arguments)
    slots = "ccb" in arguments if multi_slot is None else multi_slot
    return Trial(learned.training, learned.resuming, learned.serving(DEFAULT_EPSILON), slots, encoded(model))


def encoded(model: bytes | None) -> str | None:
    return None if model is None else base64.b64encode(model).decode()


async def tried(arguments: str, model: bytes | None = None) -> str:
    made = trial_of(arguments)
    return await trial.run(made.training, made.resuming, made.serving, made.multi_slot, model)


@pytest.mark.parametrize("arguments", [SINGLE, SLOTS])
async def test_a_policy_is_tried_in_a_process_of_its_own(arguments: str) -> None:
    told = policy.of_model(await tried(arguments))

    assert (told.problem, told.interactions) == (policy.read(arguments).problem, ("::",))


async def test_a_model_is_tried_by_its_own_arguments() -> None:
    told = policy.of_model(await tried(SINGLE, trained_model(20, "--cb_explore_adf --epsilon 0.1 -q Fj -b 16")))

    assert told.interactions == ("Fj",)
    assert "--bit_precision 16" in told.training


@pytest.mark.parametrize("model", [b"garbage", trained_model(20, SLOTS)], ids=["garbage", "slots"])
async def test_a_model_that_cannot_serve_the_loop_is_refused(model: bytes) -> None:
    with pytest.raises(ModelError):
        await tried(SINGLE, model)


async def test_a_process_that_ends_over_it_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")

    with pytest.raises(ModelError, match="ends its process"):
        await tried(SINGLE)


async def test_a_process_that_does_not_come_to_an_end_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PATIENCE", 0.0)

    with pytest.raises(ModelError, match="does not come to an end"):
        await tried(SINGLE)


async def test_several_are_tried_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = counted(monkeypatch)

    found = await trial.verdicts([trial_of(SINGLE), Trial("--cb_adf", "", "", False), trial_of(SLOTS)])

    assert [bool(one.arguments) for one in found] == [True, False, True]
    assert found[1].problem == "it does not explore actions"
    assert len(begun) == 1
    assert await trial.verdicts([]) == []


async def test_one_that_ends_the_process_is_found_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = counted(monkeypatch, "--fatal")

    found = await trial.verdicts([trial_of(SINGLE), Trial("--fatal", "", "", False), trial_of(SLOTS)])

    assert [bool(one.arguments) for one in found] == [True, False, True]
    assert found[1].problem == "Vowpal Wabbit ends its process over it"
    assert begun == [3, 1, 1, 1]


def counted(monkeypatch: pytest.MonkeyPatch, fatal: str = "none") -> list[int]:
    """How many trials each process got; one in which some arguments are comes to no end."""
    begun = list[int]()

    async def compute(function: object, message: bytes, patience: float, nice: int) -> bytes:
        trials = msgspec.json.decode(message, type=list[Trial])
        begun.append(len(trials))
        if any(one.training == fatal for one in trials):
            raise ChildError("code -11")
        return trial.answer(message)

    monkeypatch.setattr("shared.child.compute", compute)
    return begun


# -- what the process does, in this one ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [SINGLE, SLOTS, QUICK_SLOTS, "--cb_explore_adf --first 5", "--cb_explore_adf --squarecb -q Fj --l1 0.001",
     "--cb_explore_adf --bag 3 --epsilon 0.1 -q ::", "--ccb_explore_adf --softmax --lambda 5 --cubic Fjj"],
)  # fmt: skip
def test_a_policy_that_vw_learns_and_serves_by_is_taken(arguments: str) -> None:
    [verdict] = msgspec.json.decode(trial.answer(msgspec.json.encode([trial_of(arguments)])), type=list[Verdict])

    assert verdict.problem == ""
    told = policy.of_model(verdict.arguments)
    assert (told.problem, told.interactions) == (policy.read(arguments).problem, policy.read(arguments).interactions)


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (Trial("--cb_explore_adf --no_such_option", "", "", False), "unrecognised"),
        (Trial("--cb_explore_adf", "", "--epsilon 7", False), "epsilon"),
        (Trial("--cb_adf", "", "", False), "it does not explore actions"),
        (trial_of(SINGLE, multi_slot=True), "it does not explore slots"),
        (trial_of(SLOTS, multi_slot=False), "it does not explore actions"),
        (trial_of(SINGLE, trained_model(20, SLOTS)), "it does not explore actions"),
        (trial_of(SLOTS, trained_model(20), multi_slot=True), "it does not explore slots"),
    ],
)
def test_what_vw_refuses_or_another_problem_is_named(made: Trial, problem: str) -> None:
    verdict = trial.verdict(made)

    assert problem in verdict.problem
    assert verdict.arguments == ""
