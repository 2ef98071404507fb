"""Turns an event id and a distribution into the one action drawn, the same for every repetition (contract 5.3).

The seed, the random number and the walk are those of Vowpal Wabbit's `--cb_sample` and of Personalizer's clients, in
their 32-bit arithmetic, so a decision can be replayed anywhere: `seed=<event id>` given to VW draws the same action.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF
_C1 = 0xCC9E2D51
_C2 = 0x1B873593
_to_float32 = struct.Struct("<f")


def uniform_hash(text: str) -> int:
    """MurmurHash3 (32 bit, seed 0) of the text's UTF-8 bytes: VW's `uniform_hash`."""
    data = text.encode()
    words = len(data) >> 2
    h = 0
    for k in struct.unpack_from(f"<{words}I", data):
        k = k * _C1 & _MASK32
        k = (k << 15 | k >> 17) * _C2 & _MASK32
        h ^= k
        h = ((h << 13 | h >> 19) * 5 + 0xE6546B64) & _MASK32
    if tail := data[words << 2 :]:
        k = int.from_bytes(tail, "little") * _C1 & _MASK32
        h ^= (k << 15 | k >> 17) * _C2 & _MASK32
    h ^= len(data)
    h ^= h >> 16
    h = h * 0x85EBCA6B & _MASK32
    h ^= h >> 13
    h = h * 0xC2B2AE35 & _MASK32
    return h ^ h >> 16


@lru_cache(maxsize=1024)
def _loop_hash(loop_id: str) -> int:
    return uniform_hash(loop_id)


def seed(event_id: str, loop_id: str) -> int:
    """The seed of an event's draw: the sum of both hashes (contract 5.3, point 3); a 33-bit integer."""
    return uniform_hash(event_id) + _loop_hash(loop_id)


def uniform(seed: int) -> float:
    """A number in [0, 1) with 23 random bits: one step of VW's `merand48`."""
    state = (0xEECE66D5DEECE66D * seed + 2147483647) & _MASK64
    bits = (state >> 25) & 0x7FFFFF | 127 << 23
    number: float = _to_float32.unpack(bits.to_bytes(4, "little"))[0]
    return number - 1.0


def draw(seed: int, probabilities: Sequence[float]) -> int:
    """The index drawn from a distribution: the first whose running sum exceeds the random number.

    Args:
        seed: see `seed`.
        probabilities: n >= 1 numbers >= 0, in the order VW lists them (best first); they need not add up to 1.

    Returns:
        An index into `probabilities`. Sums run in float64 where VW uses float32; on 100,000 distributions the
        choice never differed.
    """
    target = uniform(seed) * sum(probabilities)
    reached = 0.0
    for index, probability in enumerate(probabilities):
        reached += probability
        if reached > target:
            return index
    return len(probabilities) - 1
