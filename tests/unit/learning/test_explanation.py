"""An explanation is what VW itself adds up: the same features, the same weights, the same expected reward."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import orjson
import pylibvw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.learning import crossing, named, packed
from shared.learning.explanation import Explainer, Share
from shared.learning.model import Learner, ServingModel
from shared.learning.table import Table

_CONSTANT = 128
"""VW's own namespace, of the constant."""


class _Parts(msgspec.Struct):
    context: msgspec.Raw = msgspec.field(name="FromUrl")
    actions: list[msgspec.Raw] = msgspec.field(name="_multi")


def _situation(r: random.Random) -> dict[str, Any]:
    """One with all kinds of features: nested, arrays, spaces, initials that context and action share."""
    context = [
        {"a": r.choice("xy"), "n": r.random(), "12": 3, "s": "a:b |c\td"},
        {"o": {"op": {"x": 2}, "p": 1.5, "q": r.choice("zu")}, "arr": [1, 0, 2.5, r.random()]},
        {"jj": {"col": "q", "n": 2.0}, "list": [{"k": True}, {"k": False, "z": 0}]},
    ]
    actions = [
        {
            "_tag": f"a{n}",
            "i": {"constant": 1, "id": f"a{n}"},
            "j": [{"col": r.choice("rgb"), "12": "3", "t": True, "o": {"k": r.random()}}, {"ü": "é"}],
        }
        for n in range(3)
    ]
    return {"FromUrl": context, "_multi": actions}


def _trained(arguments: str, events: int = 60) -> bytes:
    """A model of a world in which the right colour pays."""
    r, learner = random.Random(1), Learner(arguments, None)
    for _ in range(events):
        situation, chosen = _situation(r), r.randrange(3)
        pays = (situation["FromUrl"][0]["a"] == "x") == (situation["_multi"][chosen]["j"][0]["col"] == "r")
        label = {"_label_cost": -float(pays), "_label_probability": 1 / 3, "_labelIndex": chosen}
        learner.learn(orjson.dumps({**label, "a": [chosen + 1], "p": [1 / 3], "c": situation}))
    data = learner.save()
    learner.close()
    return data


def _read_by_vw(model: ServingModel, example: bytes) -> list[tuple[float, float]]:
    """What VW expects each action to cost, and what its constant adds to that."""
    workspace = model._workspace
    parts = model._parsed(example)
    pylibvw.vw.predict_multi(workspace, parts)
    found = []
    for part in parts[1:]:
        held = [part.namespace(n) for n in range(part.num_namespaces())]
        constant = part.feature(_CONSTANT, 0) % workspace.num_weights() if _CONSTANT in held else None
        found.append((part.get_partial_prediction(), 0.0 if constant is None else workspace.get_weight(constant, 0)))
    pylibvw.vw._finish_example_multi_ex(workspace, parts)
    return found


def _explained(model: ServingModel, example: bytes, **asked: Any) -> list[list[Share]]:
    parts = msgspec.json.decode(example, type=_Parts)
    shares = [model.explainer.shares(bytes(parts.context), bytes(action), **asked) for action in parts.actions]
    return [one for one in shares if one is not None]


POLICIES = (
    "-q ::",
    "",
    "-q :: --cubic FFj --interactions FFFj",
    "-q Fj -q jF -q FF",
    "-q jF -q ::",
    "--cubic :Fj",
    "--cubic jFo --cubic Foj",
    "--interactions :FFj",
    "--interactions jFjF",
    "-q :: --ignore j",
    "-q :: --keep F --keep i",
    "-q :: --ignore_linear F",
    "-q oo --noconstant",
    "-q :: --hash all",
    "-q :: -b 10",
    "-q :: --sgd -b 20",
    "-q :: --adaptive",
    "-q :: --cb_type dr",
    "-q :: --cb_type ips",
    "-q :: --cb_type dm",
    "-q :: --first_only --rank_all",
)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_shares_add_up_to_what_vw_expects(policy: str) -> None:
    model, r = ServingModel(_trained(f"--cb_explore_adf --epsilon 0.2 {policy}"), ""), random.Random(2)

    for _ in range(5):
        example = orjson.dumps(_situation(r))
        found = _explained(model, example)
        assert len(found) == 3
        for shares, (cost, constant) in zip(found, _read_by_vw(model, example), strict=True):
            assert sum(score for _, score in shares) == pytest.approx(constant - cost, rel=1e-5, abs=1e-5)
            assert len({name for name, _ in shares}) >= 5
            assert [abs(score) for _, score in shares] == sorted((abs(score) for _, score in shares), reverse=True)
    model.close()


def test_what_decides_comes_first_under_its_name() -> None:
    model = ServingModel(_trained("--cb_explore_adf --epsilon 0.2 -q ::", 1000), "")
    situation = _situation(random.Random(5))
    situation["FromUrl"][0]["a"], situation["_multi"][0]["j"][0]["col"] = "x", "r"

    name, score = _explained(model, orjson.dumps(situation), shown=1)[0][0]

    assert set(name.split("^")) == {"FromUrl.a", "j.col"}
    assert score > 0
    model.close()


@pytest.mark.parametrize("shown", [1, 7, 10_000])
def test_those_shown_are_the_strongest_of_all(shown: int) -> None:
    model = ServingModel(_trained("--cb_explore_adf --epsilon 0.2 -q ::"), "")
    example = orjson.dumps(_situation(random.Random(3)))

    for some, all_of_them in zip(_explained(model, example, shown=shown), _explained(model, example), strict=True):
        sizes = [pytest.approx(abs(score)) for _, score in all_of_them[:shown]]
        assert [abs(score) for _, score in some] == sizes
        assert set(some) <= set(all_of_them)
    model.close()


@pytest.mark.parametrize(
    "policy",
    ["--softmax", "--squarecb", "--bag 3", "--cover 2", "--rnd 2", "--first 5", "--synthcover", "--marginal i"],
)
def test_other_explorations_are_not_explained(policy: str) -> None:
    model = ServingModel(_trained(f"--cb_explore_adf -q :: {policy}", 10), "")

    assert _explained(model, orjson.dumps(_situation(random.Random(3)))) == []
    model.close()


@pytest.mark.parametrize("policy", ["-q ::", "--interactions :FFj"])
def test_what_is_too_much_to_look_at_is_not_explained(policy: str) -> None:
    model = ServingModel(_trained(f"--cb_explore_adf {policy}", 10), "")
    example = orjson.dumps(_situation(random.Random(3)))

    assert _explained(model, example, most=700) == []
    assert _explained(model, example, most=100) == []
    assert len(_explained(model, example, most=50_000)) == 3
    model.close()


def test_what_is_long_is_explained_too_but_not_remembered() -> None:
    model = ServingModel(_trained("--cb_explore_adf -q ::", 10), "")
    long = b'{"i":{"constant":1,"id":"x"},"j":[{"text":"%b"}]}' % (b"y" * 5000)
    short = long.replace(b"y" * 5000, b"y")

    first, again, other = (model.explainer.shares(b"[]", action) for action in (long, long, short))

    assert first == again
    assert {name for name, _ in first or ()} >= {"i.constant"}
    assert {name for name, _ in other or ()} >= {"i.constant"}
    assert model.explainer._remembered.cache_info().currsize == 1
    model.close()


def test_an_action_without_features_has_no_shares() -> None:
    model = ServingModel(_trained("--cb_explore_adf -q :: --keep F", 10), "")

    assert model.explainer.shares(b"[]", b'{"i":{"constant":1,"id":"x"},"j":[{}]}') == []
    assert model.explainer.shares(b"[]", b'{"j":[{}]}', shown=3) == []
    model.close()


@pytest.fixture(scope="module")
def reader() -> Iterator[ServingModel]:
    model = ServingModel(_trained("--cb_explore_adf --epsilon 0.2 -q ::", 3), "")
    yield model
    model.close()


_KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=125, exclude_characters='_:|"\\'), min_size=1, max_size=4)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
    | st.booleans()
    | st.integers(-1000, 1000)
    | st.floats(0.25, 1e6, width=32)
    | st.lists(st.integers(-3, 3), max_size=3),
    lambda inner: st.dictionaries(_KEYS, inner, max_size=3) | st.lists(st.dictionaries(_KEYS, inner), max_size=2),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(context=st.lists(st.dictionaries(_KEYS, _VALUES, max_size=4), max_size=3))
def test_features_are_those_that_vw_reads(reader: ServingModel, context: list[Any]) -> None:
    workspace, table = reader._workspace, Table(reader._workspace, b"")
    size = workspace.num_weights()
    parts = reader._parsed(orjson.dumps({"FromUrl": context, "_multi": [{"j": [{"k": 1}]}]}))
    theirs = [
        (chr(letter), part.feature(letter, n) % size, part.feature_weight(letter, n))
        for part in parts[:1]
        for letter in [part.namespace(n) for n in range(part.num_namespaces())]
        for n in range(part.num_features_in(letter))
        if letter != _CONSTANT
    ]
    pylibvw.vw._finish_example_multi_ex(workspace, parts)

    ours = [
        (namespace[0], table.place(namespace, name, hashed)[2], pytest.approx(value, rel=1e-6))
        for namespace, name, hashed, value in named.features({"FromUrl": context})
    ]

    # VW lists them by group; within a group the order decides where the weights of combinations are.
    assert sorted(ours, key=lambda one: one[0]) == sorted(theirs, key=lambda one: one[0])


def test_reserved_members_are_no_features() -> None:
    found = named.features({"_tag": "x", "j": [{"_a": 1, "b": None, "c": 2}], "k": {"d": [0, 5]}})

    assert found == [("j", "c", "c", 2.0), ("d", "[1]", 1, 5.0)]


def _weights(model: ServingModel) -> Callable[[int], float]:
    return lambda place: float(model._workspace.get_weight(place, 0))


@pytest.mark.parametrize("policy", ["", "--sgd", "--adaptive", "--normalized", "--cb_type dr", "-b 10", "-b 20"])
def test_the_table_is_read_from_the_file(policy: str) -> None:
    data = _trained(f"--cb_explore_adf -q :: {policy}", 30)
    model = ServingModel(data, "")
    size = model._workspace.num_weights()

    read = packed.table(data, size, _weights(model))

    assert read is not None
    assert read.tolist() == [_weights(model)(place) for place in range(size)]
    assert read.any()
    model.close()


def test_a_file_that_is_laid_out_otherwise_is_not_read() -> None:
    data = _trained("--cb_explore_adf -q ::", 30)
    model = ServingModel(data, "")
    size, ask = model._workspace.num_weights(), _weights(model)

    assert packed.table(data + b"\0", size, ask) is None
    assert packed.table(b"", size, ask) is None
    assert packed.table(data, size, lambda place: 0.5) is None
    model.close()


def test_without_the_table_vw_is_asked() -> None:
    data = _trained("--cb_explore_adf -q ::", 30)
    model = ServingModel(data, "")
    parts = msgspec.json.decode(orjson.dumps(_situation(random.Random(3))), type=_Parts)

    asked = Explainer(Table(model._workspace, b"")).shares(bytes(parts.context), bytes(parts.actions[0]))

    assert asked == model.explainer.shares(bytes(parts.context), bytes(parts.actions[0]))
    model.close()


def test_a_group_crossed_with_itself_gives_each_pair_once() -> None:
    columns = crossing.combinations(["aa"], "aba", frozenset("a"), 1000)

    assert columns is not None
    assert list(zip(*[column.tolist() for column in columns], strict=True)) == [(3, 1), (0, 0), (0, 2), (2, 2)]


def test_the_number_of_combinations_is_that_of_the_formula() -> None:
    columns = crossing.combinations(["::", "aab"], "aabbbc", frozenset(), 10_000)

    assert columns is not None
    assert len(columns[0]) == 6 + math.comb(7, 2) + 3 * 3
