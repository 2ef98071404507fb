"""The rules that stand between a caller's JSON and VW (docs/adr/0006), and the cache of what they made."""

from __future__ import annotations

import json
import string
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.errors import ApiError
from shared.ranking.action_cache import ActionCache
from shared.ranking.features import (
    Action,
    Context,
    example,
    is_plain,
    sanitise_action,
    sanitise_context,
)
from shared.ranking.walk import MAX_NUMBER


def features_of(made: Action | Context) -> int:
    """How many features it has at most."""
    return sum(number for _, number in made.namespaces)


def rebuilt(value: Any) -> Any:
    """What VW gets to see of one context object."""
    return orjson.loads(sanitise_context(json.dumps([value]).encode()).example)[0]


def refused(value: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        sanitise_context(json.dumps([value]).encode())
    assert caught.value.status == 400
    return caught.value


RESERVED = (
    "_multi", "_tag", "_slots", "_text", "__aid", "_label_cost", "_labelIndex", "_label", "_inc", "_a", "_p", "_id",
    "_", "_anything", "_é",
)  # fmt: skip


@pytest.mark.parametrize("key", RESERVED)
@pytest.mark.parametrize("prefix", ["", "\0"], ids=["", "NUL"])
def test_reserved_keys_are_dropped_at_every_depth(key: str, prefix: str) -> None:
    # A NUL becomes an underscore; a name that it makes reserved is dropped, too.
    name = key if not prefix else prefix + key[1:]
    for value in (1, "x", True, {"b": 1}, [1], [{"b": 1}]):
        given_features = {"a": 1, name: value, "o": {name: value, "p": {name: value}, "q": [{name: value, "r": 1}]}}

        assert rebuilt(given_features) == {"a": 1, "o": {"p": {}, "q": [{"r": 1}]}}


def test_reserved_keys_are_dropped_from_actions_too() -> None:
    action = sanitise_action(b'{"id":"a","_tag":"b","features":[{"_label_cost":1,"x":1}],"_multi":[]}', 0, False)

    assert orjson.loads(action.example) == {"_tag": "a", "i": {"constant": 1, "id": "a"}, "j": [{"x": 1}]}


@pytest.mark.parametrize(
    ("key", "namespace"),
    [
        ("a", "a"),
        ("Zoo", "Zoo"),
        ("!", "!"),
        ("}", "}"),
        ("9", "9"),
        ("~", "x~"),
        (" a", "x a"),
        (":a", "x:a"),
        ("|a", "x|a"),
        ("été", "xété"),
        ("中", "x中"),
        ("🎉", "x🎉"),
        ("\x7f", "x\x7f"),
        ("\x01", "x\x01"),
        ("\u0080", "x\u0080"),
        ("aé:|", "aé:|"),
    ],
)
@pytest.mark.parametrize("value", [{"n": 1}, [1, 2], [{"n": 1}]], ids=["object", "numbers", "objects"])
def test_the_first_character_of_a_namespace_is_one_that_vw_can_take(key: str, namespace: str, value: Any) -> None:
    assert rebuilt({key: value}) == {namespace: value}


@pytest.mark.parametrize("key", ["été", "~", " a", ":a", "|a", "a b", "x" * 256, '"', "\\"])
def test_a_plain_feature_may_have_any_name(key: str) -> None:
    assert rebuilt({key: 1}) == {key: 1}


def nested(depth: int, in_array: bool = False) -> Any:
    value: Any = {"leaf": 1}
    for _ in range(depth - 1):
        value = {"n": [value] if in_array else value}
    return value


@pytest.mark.parametrize("in_array", [False, True])
def test_six_levels_are_taken_and_the_seventh_is_refused(in_array: bool) -> None:
    assert rebuilt(nested(6, in_array)) == nested(6, in_array)
    error = refused(nested(7, in_array))

    assert error.code == "InvalidRankRequest"
    assert error.target is not None
    assert error.target.startswith("contextFeatures[0].n")
    assert "deeper than 6 levels" in error.message


def test_an_array_of_numbers_counts_as_a_level() -> None:
    def with_array(depth: int) -> Any:
        value: Any = {"numbers": [1]}
        for _ in range(depth - 1):
            value = {"n": value}
        return value

    assert rebuilt(with_array(5)) == with_array(5)
    assert "deeper" in refused(with_array(6)).message


@pytest.mark.parametrize(
    ("value", "built"),
    [
        ("x", "x"),
        ("", ""),
        ("12", "12"),
        ("a:b|c d\t", "a:b|c d\t"),
        ("été 🎉", "été 🎉"),
        ("a\0b\0", "a_b_"),
        ("x" * 65_536, "x" * 65_536),
        ("{'vegan', 'vegetarian'}", "{'vegan', 'vegetarian'}"),
        (True, True),
        (False, False),
        (0, 0),
        (-1.5, -1.5),
        (2**31, 2**31),
        (2**31 + 1, float(2**31 + 1)),
        (-(2**31) - 1, -float(2**31 + 1)),
        (1700000000000, 1.7e12),
        (2**63, 2.0**63),
        (-(2**63), -(2.0**63)),
        (1e19, 1e19),
        (-1e19, -1e19),
        (1e-300, 1e-300),
        ([1, 2.5, 0], [1, 2.5, 0]),
        ([1, None, 2], [1, 2]),
        ([None], []),
        ([], []),
        ({}, {}),
        ([{"a": 1}, {"b": "x"}], [{"a": 1}, {"b": "x"}]),
        ([{}], [{}]),
        ([2**40], [2.0**40]),
    ],
)
def test_values_that_are_taken(value: Any, built: Any) -> None:
    found = rebuilt({"f": value})["f"]

    assert found == built
    assert type(found) is type(built)


def test_null_is_no_feature() -> None:
    assert rebuilt({"a": None, "b": {"c": None}}) == {"b": {}}


@pytest.mark.parametrize(
    ("value", "target", "problem"),
    [
        ({"f": "x" * 65_537}, "contextFeatures[0].f", "65537 characters"),
        ({"f": 1.1e19}, "contextFeatures[0].f", "at most 1e+19"),
        ({"f": -1e39}, "contextFeatures[0].f", "at most 1e+19"),
        ({"f": 1e308}, "contextFeatures[0].f", "at most 1e+19"),
        ({"o": {"f": 1e39}}, "contextFeatures[0].o.f", "at most 1e+19"),
        ({"f": [1, 1e39]}, "contextFeatures[0].f[1]", "at most 1e+19"),
        ({"k" * 257: 1}, "contextFeatures[0]." + "k" * 64, "name of 257 characters"),
        ({"": 1}, "contextFeatures[0]", "empty name"),
        ({"o": {"": 1}}, "contextFeatures[0].o", "empty name"),
        ({"f": ["x"]}, "contextFeatures[0].f[0]", "must be a number, since feature arrays hold numbers, not a string"),
        ({"f": [1, True]}, "contextFeatures[0].f[1]", "not a boolean"),
        ({"f": [1, [2]]}, "contextFeatures[0].f[1]", "not an array"),
        ({"f": [1, {"a": 1}]}, "contextFeatures[0].f[1]", "not an object"),
        ({"f": [{"a": 1}, 1]}, "contextFeatures[0].f[0]", "not an object"),
        ({"f": [{"a": 1}, None]}, "contextFeatures[0].f[0]", "not an object"),
        ({"f": [{"a": ["x"]}]}, "contextFeatures[0].f[0].a[0]", "not a string"),
        ([{"a": 1}], "contextFeatures[0]", "must be an object of features, not an array"),
        (None, "contextFeatures[0]", "not null"),
        ("x", "contextFeatures[0]", "not a string"),
        (1.5, "contextFeatures[0]", "not a number"),
        (True, "contextFeatures[0]", "not a boolean"),
    ],
)
def test_values_that_are_refused_name_their_place(value: Any, target: str, problem: str) -> None:
    error = refused(value)

    assert (error.code, error.target) == ("InvalidRankRequest", target)
    assert error.message.startswith(target)
    assert problem in error.message


@pytest.mark.parametrize(
    "text",
    [b"NaN", b"Infinity", b"-Infinity", b"1e400", b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xed\xa0\x80"',
     b"01", b"/**/1", b"1,", b"", b'"a\nb"', b"9" * 400, b"[" * 1100 + b"]" * 1100],
)  # fmt: skip
@pytest.mark.parametrize("plain", [True, False])
def test_what_orjson_does_not_read_is_a_bad_request(text: bytes, plain: bool) -> None:
    with pytest.raises(ApiError) as caught:
        sanitise_context(b'[{"f":' + text + b"}]", plain)
    with pytest.raises(ApiError) as of_action:
        sanitise_action(b'{"id":"a","features":[{"f":' + text + b"}]}", 3, plain)

    assert (caught.value.code, caught.value.target) == ("BadRequest", "contextFeatures")
    assert (of_action.value.code, of_action.value.target) == ("BadRequest", "actions[3]")


@pytest.mark.parametrize(("raw", "kind"), [(b"{}", "an object"), (b'"x"', "a string"), (b"1", "a number")])
def test_context_features_must_be_an_array(raw: bytes, kind: str) -> None:
    for plain in (True, False):
        with pytest.raises(ApiError) as caught:
            sanitise_context(raw, plain)

        assert (caught.value.code, caught.value.target) == ("BadRequest", "contextFeatures")
        assert caught.value.message == f"contextFeatures must be an array of objects, not {kind}."


@pytest.mark.parametrize("raw", [b"null", b"[]", b" [ ] "])
def test_a_missing_context_is_an_empty_one(raw: bytes) -> None:
    assert sanitise_context(raw, True) == sanitise_context(raw, False) == Context(b"[]", frozenset(), 0)


def test_duplicate_keys_count_once() -> None:
    for plain in (True, False):
        assert sanitise_context(b'[{"a":1,"b":2,"a":3}]', plain) == Context(
            b'[{"a":3,"b":2}]', frozenset({("F", 2)}), 3
        )


@pytest.mark.parametrize(
    ("raw", "code", "target", "problem"),
    [
        (b"null", "InvalidRankRequest", "actions[7]", "is null"),
        (b"1", "BadRequest", "actions[7]", "an object with id and features, not a number"),
        (b"[]", "BadRequest", "actions[7]", "not an array"),
        (b'{"features":[{"x":1}]}', "BadRequest", "actions[7].id", "must be a string, not null"),
        (b'{"id":null,"features":[{"x":1}]}', "BadRequest", "actions[7].id", "not null"),
        (b'{"id":1,"features":[{"x":1}]}', "BadRequest", "actions[7].id", "not a number"),
        (b'{"id":"","features":[{"x":1}]}', "InvalidRankRequest", "actions[7].id", "it has 0"),
        (b'{"id":"' + b"x" * 257 + b'","features":[{"x":1}]}', "InvalidRankRequest", "actions[7].id", "it has 257"),
        (b'{"id":"a"}', "BadRequest", "actions[7].features", "not null"),
        (b'{"id":"a","features":null}', "BadRequest", "actions[7].features", "not null"),
        (b'{"id":"a","features":{"x":1}}', "BadRequest", "actions[7].features", "not an object"),
        (b'{"id":"a","features":[]}', "InvalidRankRequest", "actions[7].features", "at least one object"),
        (b'{"id":"a","features":[null]}', "InvalidRankRequest", "actions[7].features", "at least one object"),
        (b'{"id":"a","features":[1]}', "InvalidRankRequest", "actions[7].features[0]", "not a number"),
        (b'{"id":"a","features":[{"x":1},{"":1}]}', "InvalidRankRequest", "actions[7].features[1]", "empty name"),
        (b'{"id":"a","features":[null,{"":1}]}', "InvalidRankRequest", "actions[7].features[1]", "empty name"),
        (b'{"id":"a","features":[{"x":["y"]}]}', "InvalidRankRequest", "actions[7].features[0].x[0]", "a string"),
    ],
)
@pytest.mark.parametrize("plain", [True, False])
def test_actions_that_are_refused_name_their_place(
    raw: bytes, code: str, target: str, problem: str, plain: bool
) -> None:
    with pytest.raises(ApiError) as caught:
        sanitise_action(raw, 7, plain)

    assert (caught.value.code, caught.value.target) == (code, target)
    assert caught.value.message.startswith(target)
    assert problem in caught.value.message


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id":"a","features":[{"x":1}]}',
        b'{"features":[{"x":1}],"id":"a"}',
        b'{"ID":"a","Features":[{"x":1}]}',
        b'{"id":"a","features":[{"x":1}],"unknown":[1]}',
        b'{"id":"a","features":[null,{"x":1},null]}',
        b'{"id":"b","features":[{"y":2}],"id":"a","features":[{"x":1}]}',
    ],
)
@pytest.mark.parametrize("plain", [True, False])
def test_an_action_becomes_personalizers_own_layout(raw: bytes, plain: bool) -> None:
    assert sanitise_action(raw, 0, plain) == Action(
        "a",
        b'"a"',
        b'{"_tag":"a","i":{"constant":1,"id":"a"},"j":[{"x":1}]}',
        frozenset({("i", 2), ("j", 1)}),
        4 if b"null" in raw else 2,
    )


@pytest.mark.parametrize(
    ("action_id", "seen"),
    [("a\0b", "a_b"), ("\\u0000", "\\u0000"), ("\\", "\\"), ('"', '"'), ("é🎉", "é🎉"), ("x" * 256, "x" * 256)],
)
def test_an_id_is_answered_as_it_came_and_shown_to_vw_without_nul(action_id: str, seen: str) -> None:
    action = sanitise_action(orjson.dumps({"id": action_id, "features": [{}]}), 0, False)

    assert action.id == action_id
    assert orjson.loads(action.id_json) == action_id
    assert orjson.loads(action.example) == {"_tag": seen, "i": {"constant": 1, "id": seen}, "j": [{}]}


def test_the_example_is_personalizers_own_layout() -> None:
    context = sanitise_context(b'[{"time":"noon"},{"n":1}]')
    actions = [sanitise_action(b'{"id":"%b","features":[{"x":1}]}' % name, 0) for name in (b"a", b"b")]

    assert example(context, actions) == (
        b'{"FromUrl":[{"time":"noon"},{"n":1}],"_multi":[{"_tag":"a","i":{"constant":1,"id":"a"},"j":[{"x":1}]},'
        b'{"_tag":"b","i":{"constant":1,"id":"b"},"j":[{"x":1}]}]}'
    )


def test_slots_stand_behind_the_actions_where_vw_looks_for_them() -> None:
    context = sanitise_context(b'[{"time":"noon"}]')
    action = sanitise_action(b'{"id":"a","features":[{"x":1}]}', 0)

    built = example(context, [action], [b'{"_id":"s","sj":[]}', b'{"_id":"t","sj":[]}'])

    assert built == example(context, [action])[:-1] + b',"_slots":[{"_id":"s","sj":[]},{"_id":"t","sj":[]}]}'


@pytest.mark.parametrize("raw", [b"{}", b"[1]", b'[{"l":["x"]}]', b"{"])
def test_a_refusal_names_the_slot(raw: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        sanitise_context(raw, False, "slots[3].features")

    assert (caught.value.target or "").startswith("slots[3].features")


@pytest.mark.parametrize(
    ("features", "count"),
    [({"a": 1, "b": "x"}, 2), ({}, 0), ({"o": {"a": 1, "p": {"b": 2}}}, 2), ({"n": [1, 2, None, 3]}, 3),
     ({"l": [{"a": 1}, {"b": 1}]}, 2), ({"_x": 1, "a": True}, 1)],
)  # fmt: skip
def test_features_are_counted(features: dict[str, Any], count: int) -> None:
    raw = orjson.dumps([features])

    assert features_of(sanitise_context(raw)) == count
    assert features_of(sanitise_action(b'{"id":"a","features":%b}' % raw, 0)) == count + 2


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        (b'{"a":"b_c"}', True),
        ('{"é":"🎉"}'.encode(), True),
        (b'{"_a":1}', False),
        (b'{"a":"_b"}', False),
        (b'{"a":"\\u0000"}', False),
        (b'{"\\u005fmulti":1}', False),
    ],
)
def test_the_fast_way_is_for_bodies_without_escapes_and_reserved_names(body: bytes, plain: bool) -> None:
    assert is_plain(body) is plain


# -- both ways agree -------------------------------------------------------------------------------------------------

names = st.text(st.sampled_from(string.ascii_letters + '_:| é中🎉~\\"\0'), max_size=6) | st.sampled_from(RESERVED)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=10)
)
flat_objects = st.dictionaries(names, scalars, max_size=5)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)


def outcome_of_action(raw: bytes, plain: bool) -> tuple[object, ...]:
    try:
        action = sanitise_action(raw, 0, plain)
    except ApiError as e:
        return e.code, e.message, e.target
    return action.id, without_nulls(action.example)


def outcome_of_context(raw: bytes, plain: bool) -> tuple[object, ...]:
    try:
        return (without_nulls(sanitise_context(raw, plain).example),)
    except ApiError as e:
        return e.code, e.message, e.target


def without_nulls(built: bytes) -> str:
    """An example less its null features, which VW does not see either: the fast way leaves them in."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if v is not None}
        return [clean(item) for item in value] if isinstance(value, list) else value

    return repr(clean(orjson.loads(built)))  # repr, so that 1, 1.0 and True differ, and the order counts


@given(st.text(st.characters(codec="utf-8"), max_size=4), st.lists(flat_objects, max_size=3))
def test_the_fast_way_and_the_walk_build_the_same_of_flat_features(action_id: str, features: list[Any]) -> None:
    raw = json.dumps({"id": action_id, "features": features}, ensure_ascii=False).encode()
    context = json.dumps(features, ensure_ascii=False).encode()

    assert outcome_of_action(raw, is_plain(raw)) == outcome_of_action(raw, False)
    assert outcome_of_context(context, is_plain(context)) == outcome_of_context(context, False)


@given(json_values)
def test_the_fast_way_and_the_walk_agree_on_any_json(value: Any) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode()
    action = b'{"id":"a","features":[%b]}' % raw

    assert outcome_of_action(action, is_plain(action)) == outcome_of_action(action, False)
    if raw != b"null":
        assert outcome_of_context(raw, is_plain(raw)) == outcome_of_context(raw, False)


@given(st.binary(max_size=8), st.integers(0, 60))
def test_the_fast_way_and_the_walk_agree_on_broken_bytes(noise: bytes, at: int) -> None:
    valid = '{"id":"a","features":[{"time":"été","n":1.5e3,"b":true,"z":null}]}'.encode()
    raw = valid[:at] + noise + valid[at + len(noise) // 2 :]

    assert outcome_of_action(raw, is_plain(raw)) == outcome_of_action(raw, False)


@given(json_values)
def test_whatever_is_built_keeps_the_rules(value: Any) -> None:
    raw = json.dumps([value, {"o": value}]).encode()
    try:
        built = orjson.loads(sanitise_context(raw, is_plain(raw)).example)
    except ApiError:
        return

    def hold(part: Any, depth: int) -> None:
        assert depth <= 6
        if isinstance(part, dict):
            for key, inner in part.items():
                assert key
                assert not key.startswith("_")
                assert "\0" not in key
                if isinstance(inner, dict | list):
                    assert 32 < ord(key[0]) < 126
                    assert key[0] not in ":|"
                    hold(inner, depth + 1)
                else:
                    assert not isinstance(inner, str) or "\0" not in inner
                    assert not isinstance(inner, float | int) or abs(inner) <= MAX_NUMBER
        else:
            kinds = {dict if isinstance(item, dict) else type(item) for item in part}
            assert kinds <= {dict} or kinds <= {int, float}
            for item in part:
                if isinstance(item, dict):
                    hold(item, depth)

    for item in built:
        hold(item, 1)


# -- the cache -------------------------------------------------------------------------------------------------------


def raw_action(n: int, padding: int = 0) -> bytes:
    return b'{"id":"action%d","features":[{"text":"%b"}]}' % (n, b"x" * padding)


def test_the_same_bytes_are_sanitised_once() -> None:
    cache = ActionCache()

    first = cache.get(raw_action(1), 0, True)

    assert cache.get(raw_action(1), 5, False) is first
    assert cache.get(raw_action(2), 0, True) is not first
    assert len(cache) == 2


def test_a_refused_action_is_not_kept_and_is_refused_at_its_own_place() -> None:
    cache = ActionCache()
    for index in (3, 8):
        with pytest.raises(ApiError) as caught:
            cache.get(b'{"id":"","features":[{}]}', index, True)

        assert caught.value.target == f"actions[{index}].id"
    assert len(cache) == 0


def test_the_cache_stays_within_its_bytes() -> None:
    cache = ActionCache(max_bytes=40_000)

    for n in range(500):
        cache.get(raw_action(n, padding=n % 50), 0, True)
        assert cache.size <= 40_000
    assert 20 <= len(cache) < 100


def test_the_cache_keeps_what_is_used_and_drops_what_is_not() -> None:
    cache = ActionCache(max_bytes=40_000)
    used, unused = cache.get(raw_action(1), 0, True), cache.get(raw_action(2), 0, True)

    for n in range(10, 200):
        cache.get(raw_action(n), 0, True)
        assert cache.get(raw_action(1), 0, True) is used
    again = cache.get(raw_action(2), 0, True)

    assert again is not unused
    assert again == unused


def test_a_giant_action_is_served_and_not_kept() -> None:
    cache = ActionCache(max_bytes=40_000)
    kept = cache.get(raw_action(1), 0, True)

    giant = cache.get(raw_action(2, padding=3000), 0, True)

    assert giant.id == "action2"
    assert len(cache) == 1
    assert cache.get(raw_action(1), 0, True) is kept


# -- how much is walked ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
def test_a_context_of_very_many_members_is_refused(plain: bool) -> None:
    most = orjson.dumps([{f"f{n}": 1 for n in range(19_999)}])
    assert features_of(sanitise_context(most, plain)) == 19_999

    given: list[list[dict[str, object]]]
    given = [[{f"f{n}": 1 for n in range(20_000)}], [{}] * 20_001, [{"x": [0] * 20_000}], [{"x": {}}] * 10_001]
    for more in given:
        with pytest.raises(ApiError) as caught:
            sanitise_context(orjson.dumps(more), plain)
        assert caught.value.code == "InvalidRankRequest"
        assert "too many" in caught.value.message


@pytest.mark.parametrize("plain", [False, True])
def test_an_action_of_very_many_members_is_refused(plain: bool) -> None:
    def action(features: list[dict[str, object]]) -> bytes:
        return orjson.dumps({"id": "a", "features": features})

    assert features_of(sanitise_action(action([{f"f{n}": 1 for n in range(1999)}]), 0, plain)) == 2001
    more: list[list[dict[str, object]]] = [[{f"f{n}": 1 for n in range(2000)}], [{"x": {}}] * 1001]
    for features in more:
        with pytest.raises(ApiError) as caught:
            sanitise_action(action(features), 0, plain)
        assert caught.value.code == "InvalidRankRequest"
