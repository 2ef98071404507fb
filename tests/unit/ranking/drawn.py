"""Hostile rank bodies as a Hypothesis strategy: what `hostile` does not think of, Hypothesis may draw."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.unit.ranking.hostile import NUMBERS, SPECIAL_KEYS, SPECIAL_STRINGS

_names = st.sampled_from(("time", "weather", "price")) | st.sampled_from(SPECIAL_KEYS) | st.text(max_size=6)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(width=64)
    | st.sampled_from(NUMBERS)
    | st.sampled_from(SPECIAL_STRINGS)
    | st.text(st.characters(codec=None), max_size=12)
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=6,
)
_plain = st.dictionaries(st.sampled_from(("time", "weather", "price")), st.integers(0, 9) | st.text(max_size=4))
_features = st.lists(_plain | st.dictionaries(_names, _values, max_size=4), min_size=1, max_size=2)
_actions = st.lists(
    st.fixed_dictionaries({"id": st.sampled_from("abcdefgh") | _names, "features": _features}), min_size=1, max_size=4
)
requests = st.fixed_dictionaries(
    {"actions": _actions},
    optional={
        "contextFeatures": _features | _values,
        "excludedActions": st.lists(st.sampled_from("abcdefgh"), max_size=3),
        "eventId": _names,
        "deferActivation": st.booleans(),
    },
)
bodies = requests.map(lambda made: json.dumps(made, ensure_ascii=False).encode("utf-8", "surrogatepass"))
