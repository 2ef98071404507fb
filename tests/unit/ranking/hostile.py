"""Makes hostile rank bodies, single and multi-slot, from a number: the same number, the same bytes."""

from __future__ import annotations

import json
import math
import random
from typing import Any

SPECIAL_KEYS = (
    "_multi", "_tag", "_slots", "_text", "__aid", "_aid", "_label", "_labelIndex", "_label_cost", "_label_probability",
    "_label_Action", "_label_x", "_inc", "_a", "_p", "_id", "_slot_id", "_outcomes", "_skipLearn", "_", "__", "_é",
    "\0_aid", "\0label_cost", "\0_slots", "\0", "é_aid", "FromUrl", "i", "j", "sj", "constant", "id", "c", "p", "a",
    "o", "EventId", "VWState", "pdrop", "", " ", ":", "|", "a:b", "a|b", "a b", "\t", "\n", '"', "\\", "\\u0000", "~",
    "}",
    "été", "中文", "🎉", "\u0080", "\u00ff", "\u2028", "\ufeff", "\ufffd", "\uffff", "\x7f", "x" * 256, "x" * 257,
    "é" * 200,
)  # fmt: skip
SPECIAL_STRINGS = (
    "", " ", ":", "|", "a b", "a:1 |b", "\0", "a\0b", "\0_aid", "\\u0000", "\\", '"', "_text", "12", "1e400", "NaN",
    "seed=1", "shared", "été", "中", "🎉", "\ud800", "\udfff", "\u2028", "\x01", "{'vegan', 'vegetarian'}",
    "x" * 70_000,
)  # fmt: skip
NUMBERS = (
    0, -0.0, 1, -1, 0.1, 1e-50, 5e-324, 2**31, -(2**31), 2**31 + 1, 2**53 + 1, 2**63, 2**64, 1e19, 1.1e19, 10**30, 3e38,
    3.1e38, 1e39, -1e39, 1e308, 10**400, math.nan, math.inf, -math.inf,
)  # fmt: skip
"""Python writes the last three as NaN, Infinity and -Infinity, which VW reads and JSON does not know."""
NOISE = (
    b"NaN", b"-Infinity", b"null", b"true", b"[]", b"{}", b'"_multi":', b'"__aid":1,', b'"_labelIndex":0,', b"\\u0000",
    b"\\ud800", b"\\", b'"', b"[", b"]", b"{", b"}", b",", b":", b"\xff", b"\xc3", b"\0", b"/**/", b"1e400", b"9" * 400,
    b"[" * 40, b"[" * 2000, b'{"a":' * 300, b"\xef\xbb\xbf", b"_",
)  # fmt: skip


def body(number: int) -> bytes:
    """A rank body: well formed with a few odd features, odd all through, broken in its bytes, or noise."""
    r = random.Random(number)
    kind = r.random()
    if kind < 0.35:
        return spelled(r, request(r, 0.04))
    if kind < 0.65:
        return spelled(r, request(r, 0.35))
    if kind < 0.9:
        return mutated(r, spelled(r, request(r, 0.02)))
    if kind < 0.97:
        return spelled(r, anything(r, 0, 1.0))
    return r.randbytes(r.randrange(40))


def request(r: random.Random, oddity: float) -> dict[str, Any]:
    count = r.choice((1, 2, 3, 4, 6)) if r.random() < 0.95 else r.choice((0, 49, 50, 51))
    actions: list[Any] = []
    for n in range(count):
        action: Any = {"id": f"action{n}", "features": _features(r, oddity)}
        if r.random() < oddity / 2:
            action = r.choice(
                (None, [], "a", {}, {"id": f"a{n}"}, {**action, "id": string(r, 1.0)}, {**action, "x": 1})
            )
        actions.append(action)
    made: dict[str, Any] = {"actions": actions}
    if r.random() < 0.8:
        made["contextFeatures"] = _features(r, oddity)
    if r.random() < 0.3:
        made["slots"] = _slots(r, count, oddity)
    elif r.random() < 0.3:
        made["excludedActions"] = [f"action{r.randrange(count + 2)}" for _ in range(r.randrange(count + 1))]
    if r.random() < 0.5:
        made["eventId"] = string(r, oddity)
    if r.random() < 0.3:
        made["deferActivation"] = r.random() < 0.5
    if r.random() < oddity:
        named = ("eventId", "excludedActions", "contextFeatures", "deferActivation", "slots", "Extra", "_multi")
        made[r.choice(named)] = anything(r, 0, oddity)
    return made


def _slots(r: random.Random, actions: int, oddity: float) -> Any:
    most = min(actions, 4) if r.random() < 0.95 else actions + 1
    baselines = r.sample(range(actions + 1), r.randrange(min(1, most), most + 1))
    slots: list[Any] = []
    for n, baseline in enumerate(baselines):
        others = [f"action{k}" for k in range(actions) if k != baseline or r.random() < oddity]
        slot: Any = {"id": f"slot{n}", "baselineAction": f"action{baseline % max(actions, 1)}"}
        if r.random() < 0.5:
            slot["features"] = _features(r, oddity)
        if r.random() < 0.4:
            slot["excludedActions"] = r.sample(others, r.randrange(len(others) + 1))
        if r.random() < oddity / 2:
            member = r.choice(("id", "id", "baselineAction", "excludedActions", "features", "_inc", "_tag", "x"))
            slot = r.choice((None, [], {}, {**slot, member: string(r, 1.0)}, {**slot, member: anything(r, 0, oddity)}))
        slots.append(slot)
    return slots


def _features(r: random.Random, oddity: float) -> Any:
    if r.random() < oddity / 4:
        return anything(r, 0, oddity)
    return [_object(r, 1, oddity) for _ in range(r.choice((1, 1, 1, 2, 3)))]


def _object(r: random.Random, depth: int, oddity: float) -> Any:
    if r.random() < oddity / 8:
        return anything(r, depth, oddity)
    return {key(r, oddity): _value(r, depth, oddity) for _ in range(r.choice((0, 1, 2, 3, 5)))}


def key(r: random.Random, oddity: float) -> str:
    if r.random() >= oddity:
        return r.choice(("time", "weather", "price", "device", "topic", "user", "url", "age")) + r.choice(
            ("", "1", "2")
        )
    chosen = r.choice(SPECIAL_KEYS)
    return chosen if r.random() < 0.8 else chosen + r.choice(SPECIAL_KEYS)


def string(r: random.Random, oddity: float) -> str:
    if r.random() < oddity:
        return r.choice(SPECIAL_STRINGS if r.random() < 0.7 else SPECIAL_KEYS)
    return r.choice(("morning", "sunny", "mobile", "sports", "low_carb")) + str(r.randrange(20))


def _value(r: random.Random, depth: int, oddity: float) -> Any:
    if r.random() < oddity:
        return anything(r, depth, oddity)
    return r.choice((string(r, oddity), r.randrange(100), r.random(), True, False, None, [1, 2.5, 0]))


def anything(r: random.Random, depth: int, oddity: float) -> Any:
    kind = r.randrange(10 if depth < 9 else 6)
    if kind < 2:
        return string(r, 0.7)
    if kind < 4:
        return r.choice(NUMBERS) if r.random() < 0.6 else r.uniform(-1e3, 1e3)
    if kind < 6:
        return r.choice((None, True, False, [], {}))
    if kind == 6:
        nested: Any = r.choice((1, "x", {}))
        for _ in range(r.choice((3, 7, 30, 300))):
            nested = {"n": nested} if r.random() < 0.5 else [nested]
        return nested
    if kind == 7:
        return [anything(r, depth + 1, oddity) for _ in range(r.randrange(4))]
    return {key(r, max(oddity, 0.5)): anything(r, depth + 1, oddity) for _ in range(r.randrange(4))}


def spelled(r: random.Random, value: Any) -> bytes:
    """The JSON, in one of its spellings: escapes or UTF-8, and now and then with every key standing twice."""
    text = json.dumps(value, ensure_ascii=r.random() < 0.3, separators=(",", ":"))
    if r.random() < 0.05:
        text = text.replace("{", '{"time":"twice","_multi":[],', 1 + r.randrange(3))
    return text.encode("utf-8", "surrogatepass")


def mutated(r: random.Random, data: bytes) -> bytes:
    mutable = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 5))):
        at = r.randrange(len(mutable) + 1)
        change = r.randrange(5)
        if change == 0 and at < len(mutable):
            mutable[at] = r.randrange(256)
        elif change == 1:
            del mutable[at : at + r.choice((1, 2, 10))]
        elif change == 2:
            mutable[at:at] = r.choice(NOISE)
        elif change == 3:
            start = r.randrange(len(mutable) + 1)
            mutable[at:at] = mutable[start : start + r.randrange(40)]
        else:
            key = r.choice(SPECIAL_KEYS)
            mutable = bytearray(
                bytes(mutable).replace(r.choice((b'"time', b'"weather', b'"price')), json.dumps(key)[:-1].encode())
            )
    return bytes(mutable)
