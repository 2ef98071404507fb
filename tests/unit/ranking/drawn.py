"""Hostile rank bodies, with slots or without, as a Hypothesis strategy: it draws what `hostile` does not think of."""

from __future__ import annotations

import json
from typing import Any

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


def _numbered(slots: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Slots that do not share an id nor a baseline, so that most requests are decided."""
    return [{**slot, "id": f"{slot['id']}{n}", "baselineAction": "abc"[n]} for n, slot in enumerate(slots)]


_slots = st.lists(
    st.fixed_dictionaries(
        {"id": st.sampled_from("stuv") | _names},
        optional={"features": _features | _values, "excludedActions": st.lists(st.sampled_from("abcd"), max_size=2)},
    ),
    min_size=1,
    max_size=3,
).map(_numbered)
_three_actions = st.tuples(*(st.fixed_dictionaries({"id": st.just(name), "features": _features}) for name in "abc"))
_optional = {"contextFeatures": _features | _values, "eventId": _names, "deferActivation": st.booleans()}
_single = st.fixed_dictionaries(
    {"actions": _actions}, optional={**_optional, "excludedActions": st.lists(st.sampled_from("abcdefgh"), max_size=3)}
)
_multi_slot = st.fixed_dictionaries({"actions": _three_actions | _actions, "slots": _slots}, optional=_optional)
requests = st.integers(0, 3).flatmap(lambda n: _single if n else _multi_slot)
bodies = requests.map(lambda made: json.dumps(made, ensure_ascii=False).encode("utf-8", "surrogatepass"))
