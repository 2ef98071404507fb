"""What a request may cost VW: counted as VW counts, and refused past the budget (docs/adr/0006)."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import orjson
import pytest
from vowpalwabbit import Workspace

from shared.contract.errors import ApiError
from shared.loops import policy
from shared.loops.policy import Policy
from shared.ranking import budget
from shared.ranking.budget import MAX_WORK, check_budget
from shared.ranking.features import Action, Context, example, sanitise_action, sanitise_context
from tests.unit.ranking.trained import SINGLE, SLOTS

PAIRS = policy.read(SINGLE)
LINEAR = 10
"""What a feature costs beside its interactions."""


def context_of(*objects: dict[str, Any]) -> Context:
    if len(objects) == 1 and all(isinstance(value, int) for value in objects[0].values()):
        return Context(orjson.dumps(objects), len(objects[0]))  # which may be more than are sanitised
    return sanitise_context(orjson.dumps(objects))


def action_of(n: int, *objects: dict[str, Any]) -> Action:
    return sanitise_action(orjson.dumps({"id": f"a{n}", "features": objects}), n)


def many(count: int, name: str = "f") -> dict[str, int]:
    return {f"{name}{n}": n + 1 for n in range(count)}


def crossing(*specs: str, more: str = "") -> Policy:
    """A single-slot policy with these interactions."""
    return policy.read(f"--cb_explore_adf {more} {spelled(*specs)}")


def spelled(*specs: str) -> str:
    return " ".join(f"{'-q' if len(spec) == 2 else '--interactions'} {spec}" for spec in specs)


def weight(spec: str) -> int:
    """What each feature of an interaction costs: VW has loops of their own for two and for three."""
    return 6 if len(spec) > 3 else 1


def counted(context: Context, actions: list[Action], of: Policy, slots: tuple[Context, ...] | None = None) -> int:
    """The work that the budget finds in a request, when it looks at its namespaces."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ApiError) as caught:
        patch.setattr(budget, "MAX_WORK", -1)
        check_budget(context, actions, of, slots)
    found = re.search(r": (\d+) units of work", caught.value.message)
    assert found
    return int(found[1])


def taken(context: Context, actions: list[Action], of: Policy, slots: tuple[Context, ...] | None = None) -> bool:
    try:
        check_budget(context, actions, of, slots)
    except ApiError as e:
        assert (e.code, e.target) == ("InvalidRankRequest", "actions")
        return False
    return True


def made_by_vw(context: Context, actions: list[Action], of: Policy) -> int:
    """How many interacted features VW makes."""

    def features(more: str) -> int:
        workspace = Workspace(f"--cb_explore_adf --epsilon 0.2 --json --quiet {more}")
        examples = workspace.parse(example(context, actions).decode())
        workspace.predict(examples)
        count: int = sum(one.get_feature_number() for one in examples[1:])
        workspace.finish_example(examples)
        workspace.finish()
        return count

    return features(spelled(*of.interactions)) - features("")


NAMES = ("time", "Fast", "job", "item", "user", "url", "x")


def features_of(r: random.Random, depth: int = 0) -> dict[str, Any]:
    """Some features, each of which VW takes for one: no zeros, no nulls."""
    made: dict[str, Any] = {}
    for n in range(r.randrange(1, 4)):
        name = r.choice(NAMES) + str(n)
        kind = r.randrange(8 if depth < 2 else 4)
        if kind < 6:
            made[name] = (r.randrange(1, 9), "word", True, 0.5, [1, 2.5, 3], {})[kind]
        elif kind == 6:
            made[name] = features_of(r, depth + 1)
        else:
            made[name] = [features_of(r, depth + 1) for _ in range(r.randrange(1, 3))]
    return made


def request_of(r: random.Random, alike: bool = False) -> tuple[Context, list[Action]]:
    """A small request, whose actions have the same features where they are alike."""
    context, shared = context_of(*(features_of(r) for _ in range(r.randrange(3)))), features_of(r)
    return context, [action_of(n, shared if alike else features_of(r)) for n in range(r.randrange(1, 4))]


# -- the quick bound -------------------------------------------------------------------------------------------------


def test_the_budget_counts_feature_pairs_over_all_actions() -> None:
    def within(features: int, actions: int) -> bool:
        return taken(context_of(many(features - 10)), [action_of(n, many(8)) for n in range(actions)], PAIRS)

    # n (n + 1) / 2 pairs of n features, and each feature itself.
    most = max(n for n in range(3000) if 10 * (LINEAR * n + math.comb(n + 1, 2)) <= MAX_WORK)
    assert most == 2439
    assert within(most, 10)
    assert within(most + 1, 9)
    assert not within(most + 1, 10)


def test_a_refusal_says_what_was_counted_and_what_to_do() -> None:
    with pytest.raises(ApiError) as caught:
        check_budget(context_of(many(2990)), [action_of(n, many(8)) for n in range(10)], PAIRS)

    assert "up to 3000 features for each of its 10 actions" in caught.value.message
    assert "of which 30000000 are served. Send fewer features" in caught.value.message


def test_a_policy_without_interactions_pays_for_its_features_alone() -> None:
    nothing, actions = policy.read("--cb_explore_adf"), [action_of(n, many(8)) for n in range(50)]
    most = MAX_WORK // (50 * LINEAR) - 10

    assert taken(context_of(many(most)), actions, nothing)
    assert not taken(context_of(many(most + 1)), actions, nothing)


@pytest.mark.parametrize(
    ("arguments", "times"),
    [("--cb_explore_adf -q ::", 1), ("--cb_explore_adf --bag 5 -q ::", 6), ("--cb_explore_adf --cover 3 -q ::", 4),
     ("--cb_explore_adf --rnd 20 -q ::", 21), ("--cb_explore_adf --bag 2 -q :: --epsilon 0.1", 3)],
)  # fmt: skip
def test_each_model_of_an_ensemble_scores_every_action(arguments: str, times: int) -> None:
    context, actions = context_of(many(30)), [action_of(n, many(8)) for n in range(4)]

    assert counted(context, actions, policy.read(arguments)) == times * counted(context, actions, PAIRS)


def test_each_interaction_adds_to_the_count() -> None:
    context, actions = context_of(many(1500)), [action_of(n, many(8)) for n in range(20)]

    assert taken(context, actions, crossing("::"))
    assert not taken(context, actions, crossing("::", "::"))


def test_what_vw_keeps_a_table_of_is_dear() -> None:
    context, actions = context_of(many(30)), [action_of(n, many(8)) for n in range(4)]
    plain, marginal = (policy.read(f"--cb_explore_adf -q :: {more}") for more in ("", "--marginal i"))

    # The two of namespace `i`, for each action.
    assert counted(context, actions, marginal) == counted(context, actions, plain) + 4 * 2 * 4000


@pytest.mark.parametrize(
    ("specs", "cost"),
    [
        # 50 actions of 8 features, and 2 in `i`; VW's work grows by so much with each feature of the context.
        (("Fj",), LINEAR + 8),
        (("Fij",), LINEAR + 16),
        (("Fi", "Fj"), LINEAR + 10),
        (("ij",), LINEAR),
        (("uj",), LINEAR),
    ],
)
def test_what_the_quick_bound_would_refuse_is_counted_by_namespace(specs: tuple[str, ...], cost: int) -> None:
    def within(features: int) -> bool:
        return taken(context_of(many(features)), [action_of(n, many(8)) for n in range(50)], crossing(*specs))

    about = MAX_WORK // (50 * cost)
    assert 50 * sum(math.comb(about + 10 + len(spec) - 1, len(spec)) for spec in specs) > 10 * MAX_WORK
    assert within(about - 20)
    assert not within(about + 1)


def test_namespaces_are_told_apart_by_their_initials_however_deep_they_stand() -> None:
    context = context_of({"a": 1, "user": {"x": 1, "y": 1, "deep": {"z": [1, 2, 3, 4]}}, "u2": [{"p": 1}, {"q": 1}]})
    actions = [action_of(0, {"price": 1, "more": {"n": 1}})]

    def cost(*specs: str) -> int:
        return counted(context, actions, crossing(*specs)) - counted(context, actions, crossing())

    # F: a. u: x, y, p, q. d: nothing but the array's own namespace z: 4. j: price. m: n. i: constant, id.
    assert cost("Fu", "uz", "Fd") == 1 * 4 + 4 * 4 + 0
    assert cost("uj", "um", "ui", "uF") == 4 * 1 + 4 * 1 + 4 * 2 + 4 * 1
    assert cost("uzi", "Fuzm") == 4 * 4 * 2 + 6 * 1 * 4 * 4 * 1


def test_each_action_counts_as_the_largest() -> None:
    context, small, large = context_of(many(5)), many(2), many(9)
    mixed = [action_of(0, small), action_of(1, large), action_of(2, small)]

    assert counted(context, mixed, PAIRS) == counted(context, [action_of(n, large) for n in range(3)], PAIRS)


# -- against VW ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", ["Fj", "Fi", "uj", "tx", "jF", "Fij", "Fuj", "Fiju", "FF", "FFj", "FFFj", "Fjj", "uFu"]
)
def test_interactions_of_named_namespaces_are_counted_as_vw_makes_them(spec: str) -> None:
    r = random.Random(spec)
    for _ in range(30):
        context, actions = request_of(r, alike=True)
        linear = counted(context, actions, crossing())

        made = made_by_vw(context, actions, crossing(spec))
        assert counted(context, actions, crossing(spec)) - linear == weight(spec) * made


@pytest.mark.parametrize(
    "specs",
    [("::",), ("Fj:",), ("uji:",), ("FF",), ("FFj",), ("FFFj",), ("F:",), (":F",), ("Fj:",), ("::", "Fj"),
     ("Fj", "jF"), ("uuj", "::", "jjjj")],
)  # fmt: skip
def test_vw_never_makes_more_than_was_counted(specs: tuple[str, ...]) -> None:
    r = random.Random(str(specs))
    for _ in range(30):
        context, actions = request_of(r)
        of = crossing(*specs)

        assert counted(context, actions, of) >= made_by_vw(context, actions, of)


def test_the_quick_bound_lets_nothing_pass_that_vw_makes_more_of(monkeypatch: pytest.MonkeyPatch) -> None:
    r = random.Random(1)
    refused = 0
    for _ in range(300):
        context, actions = request_of(r)
        of = crossing(*r.sample(["::", "FF:", "FFj", "Fj", "uj:", "jj"], r.randrange(1, 4)))
        monkeypatch.setattr(budget, "MAX_WORK", r.choice([100, 300, 1000, 3000]))
        if taken(context, actions, of):
            assert made_by_vw(context, actions, of) <= budget.MAX_WORK
        else:
            refused += 1
    assert 30 < refused < 270


# -- slots -----------------------------------------------------------------------------------------------------------


def test_each_slot_is_ten_times_a_call_without_slots() -> None:
    of = policy.read(SLOTS)
    context, actions = context_of(many(5)), [action_of(n, many(3)) for n in range(4)]
    single = counted(context, actions, PAIRS)

    assert counted(context, actions, of) == single
    for slots in (1, 2, 4):
        assert counted(context, actions, of, (context_of(),) * slots) == 10 * slots * single


@pytest.mark.parametrize("spec", ["Fj", "sj", "Fsj", "uj", "::"])
def test_slots_have_a_namespace_of_their_own(spec: str) -> None:
    r = random.Random(spec)
    for _ in range(20):
        context, actions = request_of(r)
        slot = context_of(features_of(r))

        # As if its features stood beside the context's.
        beside = context.example[:-1] + b"," * (context.example != b"[]") + b'{"sj":%b}]' % slot.example
        of = crossing(spec)
        assert counted(context, actions, of, (slot,)) == 10 * counted(Context(beside, 0), actions, of)


def test_each_slot_counts_as_the_largest() -> None:
    context, actions = context_of(many(5)), [action_of(n, many(3)) for n in range(4)]
    small, large = context_of(many(1)), context_of(many(7))

    assert counted(context, actions, PAIRS, (small, large)) == counted(context, actions, PAIRS, (large, large))


def test_the_quick_bound_counts_slots_too() -> None:
    context, actions, slot = context_of(many(100)), [action_of(n, many(8)) for n in range(20)], context_of(many(5))
    largest = 100 + 10 + 5
    most = MAX_WORK // (10 * 20 * (LINEAR * largest + math.comb(largest + 1, 2)))

    assert most == 19
    assert taken(context, actions, PAIRS, (slot,) * most)
    assert not taken(context, actions, PAIRS, (slot,) * (most + 1))
