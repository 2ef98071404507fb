"""Turns MovieLens-100K into a world: a user chooses among ten films that they have rated, and likes some of them.

The data is GroupLens', for research and not to be passed on; it is read out of a package that carries it.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from bench.learning.packages import RECBOLE
from bench.learning.situation import Situation, listed

OFFERED: Final = 10
LIKED: Final = 4.0
"""The rating from which on a film earns 1."""


def films(chance: random.Random) -> Iterator[Situation]:
    """The world.

    Raises:
        Unavailable: the data cannot be fetched.
    """
    users, shown, ratings = _data()
    raters = [user for user, rated in ratings.items() if len(rated) >= OFFERED]
    while True:
        user = chance.choice(raters)
        offered = chance.sample(list(ratings[user]), OFFERED)
        rewards = {film: float(ratings[user][film] >= LIKED) for film in offered}
        yield Situation([users[user]], listed({film: shown[film] for film in offered}), rewards)


@lru_cache(maxsize=1)
def _data() -> tuple[Mapping[str, Any], Mapping[str, list[dict[str, Any]]], Mapping[str, Mapping[str, float]]]:
    """Users' features, films' features, and ratings by user and film."""
    users = {
        row["user_id"]: {"age": f"{int(row['age']) // 10}0s", "gender": row["gender"], "occupation": row["occupation"]}
        for row in _table("user")
    }
    shown = {row["item_id"]: [{genre: True for genre in row["class"].split()}] for row in _table("item")}
    ratings: dict[str, dict[str, float]] = defaultdict(dict)
    for row in _table("inter"):
        ratings[row["user_id"]][row["item_id"]] = float(row["rating"])
    return users, shown, ratings


def _table(name: str) -> Iterator[dict[str, str]]:
    lines = RECBOLE.read(f"recbole/dataset_example/ml-100k/ml-100k.{name}").decode().splitlines()
    header = [column.partition(":")[0] for column in lines[0].split("\t")]
    for row in csv.reader(lines[1:], delimiter="\t", quoting=csv.QUOTE_NONE):
        yield dict(zip(header, row, strict=True))
