"""Turns numbers into the 32-bit floats that the original kept and sent (contract 1.5, 3.1)."""

from __future__ import annotations

import numpy as np


def spell(value: float) -> str:
    """The shortest decimal that means the same 32-bit float."""
    return str(np.float32(value))


def as_float32(value: float) -> float:
    """The number that `spell` writes."""
    return float(spell(value))
