"""Makes rank bodies that are about as dear as a policy's budget lets them be, and bodies about as large as can be."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from shared.contract.decoding import MAX_VALUES
from shared.contract.errors import ApiError
from shared.loops.policy import Policy, Problem
from shared.ranking.budget import check_budget
from shared.ranking.features import Action, Context
from shared.ranking.walk import MAX_ACTION_NODES, MAX_NODES

INITIALS = "".join(c for c in map(chr, range(33, 126)) if c not in ':|_"\\')
MAX_BODY = 4 * 1024 * 1024
Counts = Mapping[str, int]


def interactions(r: random.Random, policy: Policy) -> bytes:
    """A body whose features are spread somehow, so many that the budget of the policy is almost or just used up."""
    actions = r.choice((1, 2, 5, 10, 25, 50))
    multi_slot = policy.problem is Problem.MULTI_SLOT
    slots = r.choice((1, 2, 5, 50, actions)) if multi_slot else 0
    slots = min(slots, actions)
    context, each, slot = (_spread(r, share) for share in r.choice(((0.98, 0.02, 0), (0.5, 0.5, 0), (0.02, 0.98, 0),
                                                                     (0.3, 0.2, 0.5), (0.1, 0.1, 0.8))))  # fmt: skip
    value = r.choice((lambda n: n + 1, lambda n: n + 1, lambda n: n + 1.5, lambda n: f"v{n}", lambda n: True,
                      lambda n: "long" * 20 + str(n)))  # fmt: skip
    distinct, shifted = r.random() < 0.5, r.random() < 0.3

    def scaled(scale: float) -> tuple[Counts, Counts, Counts]:
        return tuple({i: max(1, int(scale * w)) for i, w in part.items()} for part in (context, each, slot))  # type: ignore[return-value]

    low, high = 1.0, 40_000.0
    while high - low > 1 + low / 200:
        middle = (low * high) ** 0.5 if high > 2 * low else (low + high) / 2
        if _taken(policy, actions, slots, *scaled(middle)):
            low = middle
        else:
            high = middle
    # Most just below the budget, some anywhere below, some just above.
    scale = low * r.choice((1, 1, 1, 1, 0.97, 0.9, 0.5, 0.1, 1.02))
    of_context, of_action, of_slot = scaled(scale)
    made: dict[str, Any] = {
        "contextFeatures": _features("F", of_context, value),
        "actions": [
            {
                "id": f"a{n}",
                "features": _features("j", of_action, value, str(n) if distinct else "", n if shifted else 0),
            }
            for n in range(actions)
        ],
        "eventId": f"{r.getrandbits(64):x}",
        "deferActivation": r.random() < 0.9,  # which is not learned: that takes longer still
    }
    if slots:
        made["slots"] = [
            {"id": f"s{n}", "baselineAction": f"a{n}", "features": _features("s", of_slot, value)} for n in range(slots)
        ]
    return orjson.dumps(made)


def _spread(r: random.Random, share: float) -> dict[str, float]:
    """Namespaces with their shares of the features."""
    if not share:
        return {}
    kind = r.randrange(5)
    if kind < 2:
        return {"own": share}
    names = r.sample(INITIALS, r.choice((1, 2, 5, 20, len(INITIALS))))
    if kind == 2:
        return {name: share / len(names) for name in names}
    if kind == 3:  # a large one and many of one feature
        return {"own": share, **dict.fromkeys(names, 0.0)}
    return {name: share * r.random() ** 4 for name in ["own", *names, "i", "j", "F", "x", "y"]}


def _taken(policy: Policy, actions: int, slots: int, context: Counts, each: Counts, slot: Counts) -> bool:
    """Whether the budget admits a request of such features, and other limits do."""
    given, deciding = _unread("F", context), [_unread("s", slot)] * slots
    one = _unread("j", each)
    made = Action("a", b'"a"', one.example, frozenset([*one.namespaces, ("i", 2)]), one.nodes)
    if given.nodes > MAX_NODES or max(one.nodes, *(part.nodes for part in deciding), 0) > MAX_ACTION_NODES:
        return False
    if given.nodes + actions * one.nodes + sum(part.nodes for part in deciding) > MAX_VALUES * 0.9:
        return False
    try:
        check_budget(given, [made] * actions, policy, deciding or None, frozenset(INITIALS))
    except ApiError:
        return False
    return True


def _unread(own: str, counts: Counts) -> Context:
    """What the budget sees of such features; of the example it sees the length."""
    namespaces = Counter[str]()
    for name, count in counts.items():
        namespaces[own if name == "own" else name] += count
    nodes = namespaces.total() + len(counts) + 1
    return Context(bytes(8 * nodes), frozenset(namespaces.items()), nodes)


def _features(
    own: str, counts: Counts, value: Callable[[int], Any], more: str = "", shift: int = 0
) -> list[dict[str, Any]]:
    made: dict[str, Any] = {}
    for given, count in counts.items():
        name = given if given == "own" else INITIALS[(INITIALS.index(given) + shift) % len(INITIALS)]
        if name == "own":
            made |= {f"{own}{more}{n}": value(n) for n in range(count)}
        elif count == 1 and not more:
            made[f"{name}space"] = [1]
        else:
            made[f"{name}space"] = {f"f{more}{n}": value(n) for n in range(count)}
    return [made]


def size(r: random.Random, multi_slot: bool) -> bytes:
    """A body that is large in one way, close to a limit."""
    kind = r.choice(_SIZES)
    head = b'{"eventId":"%x",' % r.getrandbits(64)
    slots = b',"slots":[{"id":"s","baselineAction":"a0"}]' if multi_slot else b""
    return head + kind(r, slots) + b"}"


def _with(context: bytes, slots: bytes, actions: Sequence[bytes] = (b'[{"x":1}]',)) -> bytes:
    listed = b",".join(b'{"id":"a%d","features":%b}' % (n, features) for n, features in enumerate(actions))
    return b'"contextFeatures":%b,"actions":[%b]%b' % (context, listed, slots)


def _length(r: random.Random) -> int:
    """Bytes: around the largest body, around the values of a body, or anything below."""
    return r.choice((MAX_BODY - 300, MAX_BODY - 300, MAX_BODY + 1, 2 * MAX_VALUES, r.randrange(MAX_BODY)))


def _repeated(r: random.Random, slots: bytes) -> bytes:
    item = r.choice((b"[]", b"{}", b"null", b"1", b'{"a":1}', b'{"a":{}}', b'"x"', b"[[[[[[]]]]]]",
                     b"[" * 900 + b"]" * 900, b'{"a":"%b"}' % (b"x" * 60_000), b'{"%b":1}' % (b"k" * 250)))  # fmt: skip
    count = r.choice((_length(r) // (len(item) + 1), MAX_VALUES + r.randrange(-200, 5), MAX_NODES + r.randrange(-3, 3)))
    listed = b"[" + b",".join([item] * min(count, MAX_BODY // len(item))) + b"]"
    place = r.randrange(5)
    if place == 0:
        return _with(b'[{"a":%b}]' % listed, slots)
    if place == 1:
        return _with(b"[]", slots, [listed])
    if place == 2:
        return b'"actions":' + listed + slots
    if place == 3:
        return _with(b"[]", slots) + b',"excludedActions":' + listed
    return _with(listed, slots)


def _members(r: random.Random, slots: bytes) -> bytes:
    count = r.choice((_length(r) // 11, MAX_NODES + r.randrange(-3, 3), MAX_VALUES + r.randrange(-200, 5)))
    form = r.choice((b'"%d":1', b'"_%d":1', b'"a%.0d":1', b'"n%d":[1]', b'"n%d":{"a":2}', b'"f%d":"va,lue"'))
    listed = b",".join([form % n for n in range(count)])
    return r.choice((_with(b"[{%b}]" % listed, slots), listed + b"," + _with(b"[]", slots)))


def _strings(r: random.Random, slots: bytes) -> bytes:
    text = r.choice((b"x", "é".encode(), b"\\\\", b"\\u00e9", b",", b"word and, ", "🎉".encode(), b"\\u0000"))
    each = r.choice((60_000, 65_536, 65_537, 1000, 100)) // (1 if len(text) > 6 else len(text))
    count = max(1, _length(r) // (each * len(text) + 10))
    count = min(count, MAX_VALUES)
    one = text * each
    return _with(b"[{%b}]" % b",".join([b'"s%d":"%b"' % (n, one) for n in range(count)]), slots)


def _wide(r: random.Random, slots: bytes) -> bytes:
    actions = r.choice((49, 50, 51, 200, 1000))
    most = r.choice((MAX_VALUES // actions - 5, MAX_ACTION_NODES - 1, MAX_ACTION_NODES, r.randrange(MAX_ACTION_NODES)))
    form = r.choice((b'"f%d":1', b'"n%d":{"a":1}', b'"n%d":[1]', b'"f%d":"some, words"'))
    features = b"[{%b}]" % b",".join([form % n for n in range(most)])
    return _with(b"[]", slots, [features] * actions)


_SIZES = (_repeated, _repeated, _members, _strings, _wide)
