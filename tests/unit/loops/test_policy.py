from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.errors import ApiError
from shared.learning.model import Learner, ServingModel
from shared.loops import options, policy
from shared.loops.policy import DEFAULT_ARGUMENTS, DEFAULT_EPSILON, Problem
from tests.unit.ranking.trained import example, joined_line, trained_model

ONE = "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"
SLOTS = "--ccb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"


def test_a_loop_learns_as_personalizer_did() -> None:
    assert DEFAULT_ARGUMENTS == {Problem.SINGLE_SLOT: ONE, Problem.MULTI_SLOT: SLOTS}
    assert DEFAULT_EPSILON == 0.2


@pytest.mark.parametrize(("arguments", "problem"), [(ONE, "cb_explore_adf"), (SLOTS, "ccb_explore_adf")])
def test_a_policy_is_read(arguments: str, problem: str) -> None:
    read = policy.read(f"  {arguments} --dsjson ")

    assert read.arguments == f"  {arguments} --dsjson "
    assert read.problem == problem
    assert read.lineage == f"--{problem} --power_t 0 --learning_rate 0.001 --cb_type mtr --quadratic ::"
    assert read.training == read.lineage.replace(f"--{problem}", f"--{problem} --epsilon 0.2")
    assert read.epsilon == 0.2
    assert read.interactions == ("::",)


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "   ",
        "--epsilon 0.2",
        "--dsjson",
        "--cb_explore_adf --ccb_explore_adf",
        "--ccb_explore_adf -q :: --cb_explore_adf",
    ],
)
def test_a_policy_is_of_one_problem(arguments: str) -> None:
    with pytest.raises(ApiError) as caught:
        policy.read(arguments)

    error = caught.value
    assert (error.code, error.status, error.target) == ("InvalidPolicyConfiguration", 400, "arguments")
    assert error.message.startswith("arguments must name one of --cb_explore_adf")


def test_a_refusal_is_no_policy_for_the_next_caller_either() -> None:
    for _ in range(2):
        with pytest.raises(ApiError):
            policy.read("--cb_explore_adf -f model")


def test_policies_that_differ_in_epsilon_alone_are_of_one_lineage() -> None:
    read = policy.read(ONE)

    for other in ("--epsilon 0.9", "--epsilon=0.9", "", "--epsilon 0.20", "--epsilon 0.1 --dsjson --quiet"):
        same = policy.read(ONE.replace("--epsilon 0.2", other))
        assert same.lineage == read.lineage
        assert same != read
    assert policy.read(ONE.replace("-l 0.001", "--learning_rate=0.001")).lineage == read.lineage


@pytest.mark.parametrize(
    "other",
    [
        SLOTS,
        ONE.replace("0.001", "0.01"),
        ONE.replace("mtr", "ips"),
        ONE.replace("::", "ab"),
        ONE.replace("-q ::", ""),
        ONE + " --first_only",
        ONE + " -q ab",
        ONE + " -b 20",
        "--cb_explore_adf --bag 3",
    ],
)
def test_any_other_difference_makes_another_lineage(other: str) -> None:
    assert policy.read(other).lineage != policy.read(ONE).lineage


@pytest.mark.parametrize(
    ("options", "interactions"),
    [
        ("", ()),
        ("-q ab -q::", ("ab", "::")),
        ("--cubic=abc --interactions abcd --quadratic :b --ignore a --marginal i", ("abc", "abcd", ":b")),
    ],
)
def test_interactions_are_told_in_their_order(options: str, interactions: tuple[str, ...]) -> None:
    assert policy.read(f"--cb_explore_adf {options}").interactions == interactions


@pytest.mark.parametrize("arguments", ["--cb_explore_adf", "--cb_explore_adf --bag 3", "--ccb_explore_adf --squarecb"])
def test_an_exploration_without_epsilon_is_served_as_it_is(arguments: str) -> None:
    read = policy.read(arguments)

    assert read.epsilon is None
    assert read.lineage == read.training == arguments
    assert read.serving(0.7) == ""
    assert policy.with_exploration(arguments, 0.7) == arguments


@pytest.mark.parametrize("percentage", [0.0, -0.0, 1e-300, 1e-7, 0.1, 1 / 3, 0.2, 1.0])
def test_vw_takes_any_exploration_percentage(percentage: float) -> None:
    serving = policy.read(ONE).serving(percentage)

    model = ServingModel(trained_model(300, ONE), serving)

    best = max(model.score(orjson.dumps(example(1, [0, 1, 2, 3]))).distribution)
    assert best == pytest.approx(1 - percentage * 3 / 4, abs=1e-6)
    model.close()


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (ONE, ONE.replace("0.2", "0.35")),
        ("--epsilon 0.2 --cb_explore_adf", "--epsilon 0.35 --cb_explore_adf"),
        ("--cb_explore_adf --epsilon=0.2", "--cb_explore_adf --epsilon=0.35"),
        ("--cb_explore_adf  --epsilon   0.2  -q ::", "--cb_explore_adf  --epsilon   0.35  -q ::"),
        ("\t--epsilon\t1e-3\n--cb_explore_adf", "\t--epsilon\t0.35\n--cb_explore_adf"),
        ("--cb_explore_adf --epsilon 0.1 --epsilon 0.2", "--cb_explore_adf --epsilon 0.35 --epsilon 0.35"),
        ("--cb_explore_adf --squarecb", "--cb_explore_adf --squarecb"),
    ],
)
def test_another_exploration_percentage_stands_in_the_arguments(arguments: str, changed: str) -> None:
    assert policy.with_exploration(arguments, 0.35) == changed
    assert policy.read(changed).epsilon in (None, 0.35)


@given(st.floats(0, 1, width=32), st.sampled_from([" ", "=", "\t", "  ", "\u2003"]))
def test_an_exploration_percentage_is_read_back(exploration: float, between: str) -> None:
    arguments = policy.with_exploration(f"--cb_explore_adf --epsilon{between}0.2 -q ::", exploration)

    read = policy.read(arguments)

    # As a 32-bit float at its shortest, as the original kept it.
    assert read.epsilon == float(str(np.float32(exploration)))
    assert read.lineage == "--cb_explore_adf --quadratic ::"


@pytest.mark.parametrize(
    ("given", "resuming", "effort", "marginal"),
    [
        ("", "", 1, False),
        ("--epsilon 0.2 -l 0.1 -q ::", "", 1, False),
        ("--l2 0.1 --l1=0.2", "--l2 0.1 --l1 0.2", 1, False),
        ("--bag 5", "", 6, False),
        ("--cover 3", "", 4, False),
        ("--rnd 2 --marginal i -q ::", "", 3, True),
        ("--rnd 2 --cubic FFj", "", 19, False),
        ("-b 18", "", 1, False),
        ("-b 19 --bag 2", "", 12, False),
        ("-b 22 --bag 2", "", 24, False),
    ],
)
def test_it_is_told_what_vw_forgets_and_what_takes_long(given: str, resuming: str, effort: int, marginal: bool) -> None:
    read = policy.read(f"--cb_explore_adf {given}")

    assert (read.resuming, read.effort, read.marginal) == (resuming, effort, marginal)


@pytest.mark.parametrize("arguments", [ONE, SLOTS, "--cb_explore_adf --bag 3 --epsilon 0.1 -b 16", "--ccb_explore_adf"])
def test_the_policy_of_a_model_is_read_off_its_file(arguments: str) -> None:
    learner = Learner(policy.read(arguments).training, None)
    told = learner.arguments
    learner.close()

    read = policy.of_model(told)

    assert read.problem == policy.read(arguments).problem
    given, found = ({tuple(option) for option in options.read(text)} for text in (arguments, read.training))
    numbers = {"epsilon", "learning_rate", "power_t"}  # VW spells them in its own way
    assert {option for option in found if option[0] not in numbers} >= {o for o in given if o[0] not in numbers}
    assert {name for name, _ in given} <= {name for name, _ in found}


@pytest.mark.parametrize(
    "told", ["--cb_explore_adf --coin", "--oaa 3", "", "--cb_adf --final_regressor x --cb_explore_adf"]
)
def test_a_model_of_another_kind_has_no_policy_of_ours(told: str) -> None:
    with pytest.raises(ApiError) as caught:
        policy.of_model(told)

    assert caught.value.code == "InvalidPolicyConfiguration"


def test_an_epsilon_that_stands_twice_is_one() -> None:
    # VW starts with the first and a loop would serve the last.
    read = policy.read("--cb_explore_adf --epsilon 0.2 --epsilon 0.2")

    assert read.epsilon == 0.2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("--regcb", "--cb_min_cost -0.5 --cb_max_cost 2"),
        ("--regcb --cb_max_cost 0", "--cb_min_cost -0.5"),
        ("--regcb --cb_min_cost -1 --cb_max_cost 0", ""),
        *(
            (f"--{one}", "")
            for one in ("epsilon 0.2", "squarecb", "softmax", "synthcover", "first 9", "bag 2", "cover 2")
        ),
    ],
)
def test_explorations_that_read_the_range_of_costs_are_told_the_loops(given: str, told: str) -> None:
    read = policy.read(f"--cb_explore_adf {given}")

    within = read.within((-2.0, 0.5))

    assert within.training == f"{read.training} {told}".rstrip()
    assert within.lineage == f"{read.lineage} {told}".rstrip()
    assert within.arguments == read.arguments


def test_without_its_range_an_exploration_is_not_told_the_loops() -> None:
    # regcb takes rewards above 0 for impossible, eliminates nothing, and explores for ever.
    read = policy.read("--cb_explore_adf -q :: --regcb")
    likeliest = []
    for training in (read.training, read.within((-1.0, 1.0)).training):
        model = ServingModel(trained_model(1000, training), "")
        likeliest.append([max(model.score(orjson.dumps(example(n, [0, 1, 2, 3, 4]))).distribution) for n in range(4)])
        model.close()

    assert max(likeliest[0]) < 0.3
    assert max(likeliest[1]) > 0.9


@pytest.mark.parametrize("more", ["--epsilon 0.2", "--squarecb", "--softmax", "--synthcover", "--first 9", "--bag 2"])
def test_no_other_exploration_reads_the_range_of_costs(more: str) -> None:
    arguments = f"--cb_explore_adf -q :: {more}"
    plain, ranged = (trained_model(200, arguments + told) for told in ("", " --cb_min_cost -1 --cb_max_cost 1"))
    scored = []
    for data in (plain, ranged):
        model = ServingModel(data, "")
        scored.append([model.score(orjson.dumps(example(n, [0, 1, 2, 3, 4]))) for n in range(4)])
        model.close()

    assert scored[0] == scored[1]
    assert plain != ranged  # its file holds it all the same: told it, a loop's model would be another than before


def test_many_interactions_over_many_models_are_refused() -> None:
    crossed = " ".join(["-q ab"] * 21)
    policy.read(f"--cb_explore_adf --bag 2 {crossed}")

    with pytest.raises(ApiError) as caught:
        policy.read(f"--cb_explore_adf --bag 3 {crossed}")

    assert (caught.value.code, caught.value.target) == ("InvalidPolicyConfiguration", "arguments")
    assert "21 interactions for 4 models" in caught.value.message


@pytest.mark.parametrize(
    ("more", "resumes"),
    [
        ("", True),
        ("--cb_type ips", True),
        ("--cb_type dm", True),
        ("--cb_type dr", False),
        ("--squarecb", True),
        ("--softmax --lambda 20", True),
        ("--synthcover", True),
        ("--first 100", True),
        ("--l1 0.0001", True),
        ("--marginal i", True),
        ("--bag 3", False),
        ("--cover 3", False),
        ("--rnd 3", False),
        ("--regcb", True),
    ],
)
def test_what_is_said_to_resume_bit_for_bit_does(more: str, resumes: bool) -> None:
    arguments = f"--cb_explore_adf --power_t 0 -l 0.1 -q :: {more}"
    read = policy.read(arguments)
    assert policy.resumes(arguments) is read.resumes is resumes
    chance = random.Random(1)
    given = [joined_line(chance) for _ in range(120)]

    def learned(*cuts: int) -> bytes:
        data = None
        for start, end in pairwise([0, *cuts, len(given)]):
            learner = Learner(read.training, data, read.resuming if data else "")
            for line in given[start:end]:
                learner.learn(line)
            data = learner.save()
            learner.close()
        assert data is not None
        return data

    assert (learned(40, 41, 100) == learned()) is resumes
    assert learned(40) == learned(40)


def test_a_policy_of_a_later_release_is_not_said_to_resume() -> None:
    assert not policy.resumes("--cb_explore_adf --a_later_option")
