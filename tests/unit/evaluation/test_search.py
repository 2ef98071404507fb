"""The field of a search, and who goes on from its rounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.contract.configurations import MAX_ARGUMENTS
from shared.evaluation import scores, search
from shared.evaluation.estimators import Estimates, estimate
from shared.evaluation.namespaces import USUAL, Namespaces
from shared.learning.model import Learner
from shared.loops import options, policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem

SINGLE = DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]
WIDE = Namespaces({"F": 4, "d": 2, "u": 5}, {"b": 30, "i": 20, "j": 50})


def standing(**values: float) -> dict[str, Estimates]:
    """What policies would have earned of 1,000 events, half of them with a reward."""
    rows = [[0.0, 0, 0, 0.5, 0.5, n % 2, 0.0, 0.0] for n in range(1000)]
    known = estimate(scores.of_rows(rows), (-1.0, 1.0))
    return {name: replace(known, snips=known.snips._replace(value=value)) for name, value in values.items()}


@pytest.mark.parametrize("problem", Problem)
@pytest.mark.parametrize("namespaces", [USUAL, WIDE])
def test_a_loop_takes_every_policy_of_the_field_and_vw_as_well(problem: Problem, namespaces: Namespaces) -> None:
    field = search.first(DEFAULT_ARGUMENTS[problem], namespaces)

    assert 60 < len(field) < 150
    for found in field:
        read = policy.read(found.arguments)
        assert read.problem is problem
        assert read.resumes
        assert len(found.arguments) <= MAX_ARGUMENTS
    for found in field[::7]:
        Learner(policy.read(found.arguments).training, None).close()


def test_no_two_are_alike_and_none_is_the_loops_own() -> None:
    written_otherwise = "--cb_explore_adf -l 0.001 --epsilon 0.2 --cb_type mtr --power_t 0 --quadratic ::"
    field = [found.arguments for found in search.first(SINGLE)]

    assert [found.arguments for found in search.first(written_otherwise)] == field
    meanings = [sorted(options.read(arguments)) for arguments in [*field, SINGLE]]
    assert all(meanings.count(meaning) == 1 for meaning in meanings)


def test_what_a_policy_leaves_to_vw_is_known() -> None:
    field = [found.arguments for found in search.first("--cb_explore_adf --epsilon 0.2 -q ::")]

    assert not [one for one in field if "--epsilon 0.2 --cb_type mtr -l 0.5 --quadratic ::" in one]
    assert [one for one in field if "--epsilon 0.2 --cb_type ips -l 0.5 --quadratic ::" in one]


def test_policies_are_named_for_whether_features_interact_as_in_the_loops_own() -> None:
    field = search.first(SINGLE)

    own = [found for found in field if "--quadratic ::" in found.arguments]
    others = [found for found in field if found not in own]
    assert [found.name for found in own] == [f"Hyper{n + 1}" for n in range(len(own))]
    assert [found.name for found in others] == [f"Inter-len{n + 1}" for n in range(len(others))]
    assert len(own) > 10
    assert len(others) > 90


def test_features_of_contexts_are_crossed_with_those_of_actions_and_with_their_ids() -> None:
    arguments = [found.arguments for found in search.first(SINGLE)]

    for crossed in ("", "-q Fj", "-q Fj --cubic FFj --interactions FFFj", "-q Fi --cubic FFi --interactions FFFi"):
        end = f"-l 0.5 {crossed}".rstrip()
        assert [one for one in arguments if one.endswith(end)], crossed
    several = " ".join(
        found.arguments for found in search.first(SINGLE, Namespaces({"F": 1, "u": 1}, {"i": 1, "b": 1}))
    )
    assert "-q Fb -q ub --cubic FFb --cubic Fub --cubic uub " in several
    assert "--interactions Fuub" in several
    only_ids = " ".join(found.arguments for found in search.first(SINGLE, Namespaces({"F": 1}, {"i": 1})))
    assert "--cubic FFi" in only_ids


def test_interactions_of_too_many_features_are_left_out() -> None:
    def crossed(features: int) -> set[str]:
        field = search.first(SINGLE, Namespaces({"F": features}, {"i": 20, "j": 100}))
        return {found.arguments.partition(" -l ")[2].partition("-q ")[2] for found in field}

    assert "Fj --cubic FFj --interactions FFFj" in crossed(10)
    # 100 features of actions, and 20 over 3 + 2 = 1,540 sets of three of a context's: 154,000; of 30 they are 496,000
    assert "Fj --cubic FFj --interactions FFFj" in crossed(20)
    assert "Fj --cubic FFj --interactions FFFj" not in crossed(30)
    assert "Fj --cubic FFj" in crossed(30)
    assert "Fj" in crossed(2000)
    assert not [one for one in crossed(5000) if "j" in one]


def test_what_is_not_searched_for_is_kept() -> None:
    field = search.first("--cb_explore_adf --bag 3 --greedify -b 20 --noconstant --l2 0.001 -l 0.3 -q uj --ignore x")

    for found in field:
        kept = {option.name: option.value for option in options.read(found.arguments)}
        assert (kept["bit_precision"], kept["l2"], kept["ignore"]) == ("20", "0.001", "x")
        assert "noconstant" in kept
        assert ("squarecb" in kept) != ("bag" in kept and "greedify" in kept)


def test_the_better_third_goes_on_and_in_the_end_five() -> None:
    worth = {f"p{n}": (n * 7) % 30 / 30 for n in range(30)}
    order = sorted(worth, key=worth.__getitem__, reverse=True)

    assert search.survivors(0, standing(**worth)) == order[:10]
    assert search.survivors(1, standing(**worth)) == order[:10]
    assert search.survivors(2, standing(**worth)) == order[:5]
    assert search.survivors(0, standing(**{name: worth[name] for name in order[:6]})) == order[:5]
    assert search.survivors(2, standing(a=0.1)) == ["a"]


def test_of_equals_the_first_goes_on_and_what_nothing_is_known_of_goes_last() -> None:
    given = standing(none=0.9, a=0.5, b=0.5, c=0.7, less=-1.0, d=0.5)
    given["none"] = replace(given["none"], matched=0)

    assert search.survivors(2, given) == ["c", "a", "b", "d", "less"]
