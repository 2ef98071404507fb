"""Names the scenarios that are measured, with the published figures of their policies, and goals.

The figures were measured once with Vowpal Wabbit 9.11.9, learning after every event, on VW's text namespaces (`-q UA`);
those of coffee and grocery, and of several slots, on the layout that Rank sends, a lesson after every 100 events.
"""

from __future__ import annotations

from typing import Final

from bench.learning.classes import classes
from bench.learning.clicks import clicks
from bench.learning.films import films
from bench.learning.imitation import DIETS, PLACES, shop
from bench.learning.places import places
from bench.learning.policies import DEFAULT, FOUND, GREEDY, MUCH, PAIRS, REGCB, SLOTS, SOME, SQUARECB, explored
from bench.learning.scenario import Least, Row, Scenario
from bench.learning.situation import World
from bench.learning.tutorials import tutorial
from bench.learning.visitors import SECOND, THIRD, visitors
from demo.coffee import COFFEE
from demo.grocery import GROCERY
from shared.log.records import APPRENTICE

IMITATED = ("best-scored is the baseline's", "drawn is the baseline's")


def _classes(name: str, count: int, seeds: int, published: dict[str, Least]) -> Scenario:
    explorations = {
        "epsilon 0.2": MUCH,
        "greedy": GREEDY,
        "squarecb": SQUARECB,
        "cover 5 nounif": "--cover 5 --nounif --epsilon 0.0",
    }
    rows = [Row(told, explored(explorations[told], PAIRS), figures) for told, figures in published.items()]
    columns = ("whole run", "second half")
    return Scenario(name, f"{name}, {count:,} examples", classes(name), count, rows, columns, last=0, seeds=seeds)


def _published(much: float, greedy: float, squarecb: float, cover: float, *halves: float | None) -> dict[str, Least]:
    second = halves or (None, None, None, None)
    names = ("epsilon 0.2", "greedy", "squarecb", "cover 5 nounif")
    return dict(zip(names, zip((much, greedy, squarecb, cover), second, strict=True), strict=True))


def _drift(
    number: int, later: World, much: float, some: float, squarecb: float, softmax: float, cover: float
) -> Scenario:
    rows = [
        Row("epsilon 0.2", explored(MUCH, PAIRS), (None, much)),
        Row("epsilon 0.05", explored(SOME, PAIRS), (None, some)),
        Row("squarecb", explored(SQUARECB, PAIRS), (None, squarecb)),
        Row("softmax lambda 10", explored("--softmax --lambda 10", PAIRS), (None, softmax)),
        Row("cover 3 nounif", explored("--cover 3 --nounif", PAIRS), (None, cover)),
    ]
    return Scenario(f"drift{number}", f"Tom and Anna, tastes change at 5,000 (scenario {number})", later, 10_000, rows)


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in [
        Scenario(
            "visitors",
            "Tom and Anna",
            visitors(),
            5_000,
            [
                Row("epsilon 0.2, no interactions", explored(MUCH, ""), (0.417, None)),
                Row("epsilon 0.2", explored(MUCH, PAIRS), (0.800, 0.830)),
                Row("epsilon 0.05", explored(SOME, PAIRS), (0.850, 0.945)),
                Row("squarecb", explored(SQUARECB, PAIRS), (0.944, 0.976)),
                Row("squarecb, pairs", explored(SQUARECB, "-q ::"), (None, 0.976), (0.92, None)),
                Row("softmax lambda 10", explored("--softmax --lambda 10", PAIRS), (0.954, 0.985)),
                Row("cover 3 nounif", explored("--cover 3 --nounif", PAIRS), (0.846, 0.863)),
                Row("regcb, costs -1 to 1", explored("--regcb --cb_min_cost -1 --cb_max_cost 1", PAIRS)),
                Row("regcb, costs -1 to 0", explored(REGCB, PAIRS), (0.652, None)),
                Row("bag 5 greedify", explored("--bag 5 --greedify --epsilon 0.0", PAIRS), (0.643, None)),
            ],
        ),
        _drift(2, visitors(SECOND), 0.817, 0.956, 0.992, 0.828, 0.986),
        _drift(3, visitors(THIRD), 0.822, 0.953, 0.992, 0.999, 0.734),
        Scenario(
            "coffee",
            "coffee tutorial",
            tutorial(COFFEE),
            10_000,
            [
                Row("default", DEFAULT, (None, 0.500), (None, 0.42), rising=True),
                Row("epsilon 0.2, pairs", explored(MUCH, "-q ::"), (None, 0.593)),
                Row("epsilon 0.2, found", explored(MUCH, FOUND), (None, 0.854), (None, 0.84)),
                Row("squarecb, found", explored(f"{SQUARECB} --gamma_scale 3", FOUND), (0.934, 0.949), (None, 0.93)),
                Row("synthcover, found", explored("--synthcover", FOUND)),
            ],
        ),
        Scenario(
            "grocery",
            "grocery quickstart",
            tutorial(GROCERY),
            5_000,
            [
                Row("default", DEFAULT, (0.886, 0.892), (None, 0.88)),
                Row("squarecb", explored(SQUARECB, "-q ::"), (0.992, 0.999)),
            ],
        ),
        Scenario(
            "films",
            "MovieLens-100K, one of ten rated films",
            films,
            20_000,
            [
                Row("default", DEFAULT, (0.660, 0.685)),
                Row("epsilon 0.2", explored(MUCH, PAIRS), (0.672, 0.688)),
                Row("greedy", explored(GREEDY, PAIRS), (0.751, 0.776)),
                Row("squarecb", explored(SQUARECB, PAIRS), (0.734, 0.756)),
                Row("squarecb, gamma 100", explored(f"{SQUARECB} --gamma_scale 100", PAIRS), (0.744, 0.771)),
            ],
            ("whole run", "last quarter"),
            last=5_000,
        ),
        _classes("iris", 150, 40, _published(0.49, 0.57, 0.55, 0.55)),
        _classes("wine", 178, 40, _published(0.49, 0.55, 0.52, 0.57)),
        _classes("breast_cancer", 569, 20, _published(0.76, 0.86, 0.81, 0.80)),
        _classes("digits", 1_797, 5, _published(0.51, 0.52, 0.57, 0.67, 0.60, 0.61, 0.68, 0.82)),
        _classes("segment", 2_310, 5, _published(0.42, 0.43, 0.54, 0.54)),
        _classes("mushroom", 5_644, 5, _published(0.893, 0.994, 0.988, 0.975)),
        _classes("optdigits", 5_620, 5, _published(0.66, 0.67, 0.70, 0.83, 0.74, 0.77, 0.79, 0.91)),
        _classes("satimage", 6_435, 5, _published(0.52, 0.54, 0.60, 0.65, None, None, None, 0.71)),
        _classes("penbased", 10_992, 5, _published(0.57, 0.55, 0.71, 0.70)),
        _classes(
            "letter",  # without greedy: it takes longest as it is
            20_000,
            5,
            {"epsilon 0.2": (0.09, None), "squarecb": (0.22, None), "cover 5 nounif": (0.27, 0.38)},
        ),
        Scenario(
            "clicks",
            "noisy clicks, 4 to 23 %",
            clicks,
            20_000,
            [
                Row("default", DEFAULT),
                Row("epsilon 0.2, found", explored(MUCH, "-q :: --cubic FFj")),
                Row("squarecb, found", explored(SQUARECB, "-q :: --cubic FFj")),
                Row("softmax lambda 60, found", explored("--softmax --lambda 60", "-q :: --cubic FFj")),
                Row("synthcover, found", explored("--synthcover", "-q :: --cubic FFj")),
            ],
            ("whole run", "last 4,000"),
            last=4_000,
        ),
        Scenario(
            "slots",
            "three slots, four actions",
            places,
            3_000,
            [
                Row("default", SLOTS),
                Row(
                    "default with -l 0.1",
                    SLOTS.replace("-l 0.001", "-l 0.1"),
                    (None, 0.784),
                    (None, 0.75),
                    rising=True,
                ),
            ],
            plain=False,
        ),
        Scenario(
            "apprentice",
            "apprentice mode, where the shop goes by the shopper",
            shop(0, "dietary_preferences", DIETS),
            5_000,
            [Row("default", DEFAULT, goal=(0.95, 0.80))],
            IMITATED,
            mode=APPRENTICE,
            plain=False,
        ),
        Scenario(
            "apprentice_place",
            "apprentice mode, where the shop goes by the location alone",
            shop(1, "location", PLACES),
            5_000,
            [Row("default", DEFAULT), Row("epsilon 0.2, pairs", explored(MUCH, "-q ::"))],
            IMITATED,
            mode=APPRENTICE,
            plain=False,
        ),
    ]
}
