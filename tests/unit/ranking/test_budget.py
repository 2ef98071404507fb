"""What a request may cost VW: counted as VW counts, and refused past the budget (docs/adr/0006)."""

from __future__ import annotations

import bisect
import math
import random
import re
from collections import Counter
from typing import Any

import orjson
import pytest
from vowpalwabbit import Workspace

from shared.contract.errors import ApiError
from shared.loops import policy
from shared.loops.policy import Policy
from shared.ranking import budget
from shared.ranking.budget import MAX_WORK, Crossed, check_body, check_budget
from shared.ranking.features import Action, Context, example, sanitise_action, sanitise_context
from tests.unit.ranking.trained import SINGLE, SLOTS

PAIRS = policy.read(SINGLE)
EVERY = frozenset(chr(code) for code in range(33, 126)) - set(":|")


def context_of(*objects: dict[str, Any]) -> Context:
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


def counted(
    context: Context,
    actions: list[Action],
    of: Policy,
    slots: tuple[Context, ...] | None = None,
    met: frozenset[str] = EVERY,
) -> int:
    """The work that the budget finds in a request; as a rule of a model that has met every namespace."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ApiError) as caught:
        patch.setattr(budget, "MAX_WORK", -1)
        check_budget(context, actions, of, slots, met)
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


def counts_of(*parts: Context | Action) -> Counter[str]:
    """The features by the initials of their namespaces."""
    return sum((Counter(dict(part.namespaces)) for part in parts), Counter[str]())


def request_of(r: random.Random, alike: bool = False) -> tuple[Context, list[Action]]:
    """A small request, whose actions have the same features where they are alike."""
    context, shared = context_of(*(features_of(r) for _ in range(r.randrange(3)))), features_of(r)
    return context, [action_of(n, shared if alike else features_of(r)) for n in range(r.randrange(1, 4))]


# -- what is interacted, against VW ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", ["Fj", "Fi", "uj", "tx", "jF", "Fij", "Fuj", "Fiju", "FF", "FFj", "FFFj", "Fjj", "uFu"]
)
def test_interactions_of_named_namespaces_are_counted_as_vw_makes_them(spec: str) -> None:
    r = random.Random(spec)
    for _ in range(30):
        context, actions = request_of(r, alike=True)

        made = Crossed(spec, counts_of(context, actions[0])).features
        assert made * len(actions) == made_by_vw(context, actions, crossing(spec))


@pytest.mark.parametrize("spec", ["::", "Fj:", "uji:", "F:", ":F", "FF:", "jjj:"])
def test_vw_never_makes_more_than_was_counted(spec: str) -> None:
    r = random.Random(spec)
    for _ in range(30):
        context, actions = request_of(r)

        most = sum(Crossed(spec, counts_of(context, action)).features for action in actions)
        assert most >= made_by_vw(context, actions, crossing(spec))


def test_namespaces_are_told_apart_by_their_initials_however_deep_they_stand() -> None:
    context = context_of({"a": 1, "user": {"x": 1, "y": 1, "deep": {"z": [1, 2, 3, 4]}}, "u2": [{"p": 1}, {"q": 1}]})
    action = action_of(0, {"price": 1, "more": {"n": 1}})

    assert counts_of(context, action) == {"F": 1, "u": 4, "z": 4, "j": 1, "m": 1, "i": 2}


@pytest.mark.parametrize(
    ("spec", "features", "turns", "terms"),
    [
        ("Fj", 15, 5, 1),
        ("jF", 15, 5, 1),  # VW orders them
        ("Fx", 0, 0, 0),
        ("FFj", 45, 15, 1),
        ("FFF", 35, 15, 1),
        ("::", 55, 30, 6),  # of ten features in three namespaces
        ("F:", 50, 15 + 10, 3),
        ("Fj:", 150, 45 + 50, 3),
        ("x:", 0, 0, 0),
    ],
)
def test_what_vw_does_for_an_interaction(spec: str, features: int, turns: int, terms: int) -> None:
    crossed = Crossed(spec, {"F": 5, "j": 3, "i": 2})

    assert (crossed.features, crossed.turns, crossed.terms) == (features, turns, terms)


@pytest.mark.parametrize("spec", ["::", "F:", "Fj"])
def test_of_nothing_nothing_is_made(spec: str) -> None:
    crossed = Crossed(spec, {})

    assert (crossed.features, crossed.turns, crossed.terms) == (0, 0, 0)


# -- what is taken ---------------------------------------------------------------------------------------------------


def test_the_budget_counts_feature_pairs_over_all_actions() -> None:
    def within(features: int, actions: int) -> bool:
        return taken(context_of(many(features - 10)), [action_of(n, many(8)) for n in range(actions)], PAIRS)

    most = bisect.bisect_left(range(3000), True, lo=11, key=lambda n: not within(n, 10)) - 1
    # n (n + 1) / 2 pairs of n features are the most of it.
    assert 0.8 * MAX_WORK < 10 * math.comb(most + 1, 2) < MAX_WORK
    assert within(most, 9)
    assert not within(most + 1, 10)
    assert within(most + 1, 9)


def test_a_refusal_says_what_was_counted_and_what_to_do() -> None:
    with pytest.raises(ApiError) as caught:
        check_budget(context_of(many(2990)), [action_of(n, many(8)) for n in range(10)], PAIRS)

    assert "up to 3000 features for each of its 10 actions" in caught.value.message
    assert "of which 30000000 are served. Send fewer features" in caught.value.message


def test_a_body_that_no_budget_admits_is_refused_unread() -> None:
    check_body(bytes(3_000_000))
    with pytest.raises(ApiError) as caught:
        check_body(bytes(3_000_001))

    assert (caught.value.code, caught.value.target) == ("PayloadSizeExceeded", None)
    assert "has 3000001 bytes; at most 3000000" in caught.value.message


def test_a_policy_without_interactions_takes_what_can_be_read() -> None:
    nothing, actions = policy.read("--cb_explore_adf"), [action_of(n, many(8)) for n in range(50)]

    assert taken(context_of(many(19_000)), actions, nothing)


def test_what_is_read_counts_by_nodes_and_by_bytes() -> None:
    nothing = policy.read("--cb_explore_adf")
    few, long, nested = context_of(many(10)), context_of({"s": "x" * 60_000}), context_of({"n": {"x": {}}})
    actions = [action_of(0, many(1))]
    base = counted(context_of(), actions, nothing)

    assert counted(few, actions, nothing) > base + 11 * 900
    assert counted(long, actions, nothing) > base + 10 * 60_000
    assert counted(nested, actions, nothing) >= base + 3 * 900
    assert not taken(context_of(*({f"s{n}": "x" * 60_000} for n in range(50))), actions, nothing)


@pytest.mark.parametrize(
    ("arguments", "times"),
    [("--cb_explore_adf -q ::", 1), ("--cb_explore_adf --bag 5 -q ::", 6), ("--cb_explore_adf --cover 3 -q ::", 4),
     ("--cb_explore_adf --rnd 20 -q ::", 21), ("--cb_explore_adf --bag 2 -q :: --epsilon 0.1", 3)],
)  # fmt: skip
def test_each_model_of_an_ensemble_scores_every_action(arguments: str, times: int) -> None:
    context, actions = context_of(many(30)), [action_of(n, many(8)) for n in range(4)]
    one, two = (counted(context, actions, policy.read(f"--cb_explore_adf -q :: {more}")) for more in ("", "--bag 1"))

    assert counted(context, actions, policy.read(arguments)) == one + (times - 1) * (two - one)


def test_each_interaction_adds_to_the_count() -> None:
    context, actions = context_of(many(1400)), [action_of(n, many(8)) for n in range(20)]

    assert taken(context, actions, crossing("::"))
    assert not taken(context, actions, crossing("::", "::"))


def test_what_vw_keeps_a_table_of_is_dear() -> None:
    context, actions = context_of(many(30)), [action_of(n, many(8)) for n in range(4)]
    plain, marginal = (policy.read(f"--cb_explore_adf -q :: {more}") for more in ("", "--marginal i"))

    # The two of namespace `i`, for each action.
    assert counted(context, actions, marginal) == counted(context, actions, plain) + 4 * 2 * 4000


def test_each_action_counts_as_what_it_is() -> None:
    context, small, large = context_of(many(5)), many(2), many(9)

    def cost(*objects: dict[str, int]) -> int:
        return counted(context, [action_of(n, one) for n, one in enumerate(objects)], PAIRS)

    assert cost(small, large, small) - cost(small, small) == cost(large, large) - cost(large)


def test_in_multi_slot_the_dearest_actions_are_left_to_later_slots() -> None:
    of = policy.read(SLOTS)
    small, large = many(2), many(9)

    def cost(slots: int, *objects: dict[str, int]) -> int:
        actions = [action_of(n, one) for n, one in enumerate(objects)]
        return counted(context_of(), actions, of, (context_of(),) * slots) - read(context_of(), actions)

    slot = 10 * len(b"[]")  # read
    assert cost(2, small, large) - 2 * slot == 2 * (cost(1, large) - slot) + cost(1, small) - slot


# -- namespaces that VW gets to know ---------------------------------------------------------------------------------


def test_the_initials_of_a_request_are_told() -> None:
    context = context_of({"a": 1, "user": {"x": 1}, "empty": {}})
    slot = context_of({"s": 1, "deep": {"y": 1}})

    assert check_budget(context, [action_of(0, {"p": 1})], PAIRS, (slot,)) == set("Fuijd")


def test_a_namespace_that_the_model_has_not_met_costs_the_lists_anew() -> None:
    context, actions = context_of({"a": 1, "user": {"x": 1}}), [action_of(0, {"p": 1})]

    def cost(of: Policy, met: str) -> int:
        return counted(context, actions, of, met=frozenset(met))

    # Of four namespaces, and of five.
    assert cost(PAIRS, "Fij") - cost(PAIRS, "Fiju") == 1000 * 10
    assert cost(PAIRS, "Fijx") - cost(PAIRS, "Fijux") == 1000 * 15
    assert cost(crossing("Fj:"), "Fij") - cost(crossing("Fj:"), "Fiju") == 1000 * 4
    assert cost(crossing("Fj"), "Fij") == cost(crossing("Fj"), "Fiju")


def test_a_wildcard_looks_at_every_namespace_that_the_model_has_met() -> None:
    context, actions = context_of({"a": 1}), [action_of(n, {"p": 1}) for n in range(7)]

    few, all_of_them = (counted(context, actions, PAIRS, met=met) for met in (frozenset("Fij"), EVERY))
    assert all_of_them - few == 7 * (math.comb(92, 2) - math.comb(4, 2))


# -- slots -----------------------------------------------------------------------------------------------------------


def test_each_slot_scores_the_actions_that_are_left() -> None:
    of = policy.read(SLOTS)
    context, actions = context_of(many(5)), [action_of(n, many(3)) for n in range(4)]
    one, two, three, four = (counted(context, actions, of, (context_of(),) * slots) for slots in (1, 2, 3, 4))

    slot = 10 * len(b"[]")  # read
    assert (two - one - slot) * 4 == 3 * (one - read(context, actions) - slot)
    assert (three - two - slot) * 3 == 2 * (two - one - slot)
    assert (four - three - slot) * 2 == three - two - slot


def read(context: Context, actions: list[Action]) -> int:
    """What it costs to read a request without slots."""
    parts: list[Context | Action] = [context, *actions]
    return sum(900 * part.nodes + 10 * len(part.example) for part in parts)


@pytest.mark.parametrize("spec", ["Fj", "sj", "Fsj", "uj", "::"])
def test_a_slot_is_dearer_than_a_call_without_slots(spec: str) -> None:
    r = random.Random(spec)
    of = policy.read(f"--ccb_explore_adf {spelled(spec)}")
    for _ in range(20):
        context, actions = request_of(r)
        slot = context_of({"x": 1})

        single = counted(context, actions, crossing(spec)) - read(context, actions)
        assert counted(context, actions, of, (slot,)) - read(context, actions) > 2 * single


@pytest.mark.parametrize("spec", ["Fj", "sj", "Fsj", "uj", "::"])
def test_slots_have_a_namespace_of_their_own(spec: str) -> None:
    r = random.Random(spec)
    of = policy.read(f"--ccb_explore_adf {spelled(spec)}")
    for _ in range(20):
        context, actions = request_of(r)
        slot = sanitise_context(orjson.dumps([features_of(r)]), where="slots[0].features")

        # As if its features stood beside the context's.
        beside = Context(b"", frozenset(counts_of(context, slot).items()), 0)
        nothing = (Context(b"", frozenset(), 0),)
        assert (
            counted(context, actions, of, (slot,)) - read(context, [*actions, slot])  # type: ignore[list-item]
            == counted(beside, actions, of, nothing) - read(beside, actions)
        )


def test_each_slot_counts_as_the_largest() -> None:
    of = policy.read(SLOTS)
    context, actions = context_of(many(5)), [action_of(n, many(3)) for n in range(4)]
    small, large = context_of(many(1)), context_of(many(7))
    spared = 900 * 6 + 10 * (len(large.example) - len(small.example))

    mixed = counted(context, actions, of, (small, large))
    assert mixed == counted(context, actions, of, (large, large)) - spared
