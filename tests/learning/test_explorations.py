"""Each exploration in this process: decided, logged, joined with its rewards, learned, served again, and replayed."""

from __future__ import annotations

import random
from itertools import islice
from statistics import fmean

import orjson
import pytest

from bench.learning.course import Course
from bench.learning.places import places
from shared.contract.requests import MOST_ACTIONS, rank_request
from shared.learning.lesson import learn
from shared.learning.model import Learner, ServingModel
from shared.log import entry as entries
from shared.log.buckets import Waits
from shared.log.join import MIN_PROBABILITY, Rules, decode_events, join
from shared.log.records import Observed
from shared.loops import policy
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import log_line
from shared.ranking.features import is_plain
from shared.ranking.model_cache import Held
from shared.ranking.rank import decide
from shared.ranking.replay import decide_again
from tests.unit.ranking.trained import LOOP, job

EVENTS = 2_000
STEP = 50
"""Events between two models."""
LIKES = {"morning": "news", "noon": "food", "evening": "sports", "night": "travel"}
RULES = Rules(600.0, 0.0, "earliest", (-1.0, 1.0))

EXPLORATIONS = {
    "epsilon-greedy": "--epsilon 0.2",
    "squarecb": "--squarecb --gamma_scale 100",
    "softmax": "--softmax --lambda 20",
    "cover": "--cover 3 --epsilon 0.1",
    "bag": "--bag 5 --epsilon 0.1",
    "rnd": "--rnd 3 --epsilon 0.1 --rnd_alpha 0.02 --rnd_invlambda 0.02",
    "first": "--first 500 --epsilon 0.1",
    "synthcover": "--synthcover --epsilon 0.1",
    "regcb": "--regcb",
}


def play(arguments: str, events: int = EVENTS, fillers: int = 0) -> list[float]:
    """What a loop of this policy earns, event by event; every decision is checked, and taken again from the log."""
    r = random.Random(11)
    loop = Loop(LOOP, ServiceConfiguration(), policy.read(arguments), Waits(((0, 600.0),)))
    learned = loop.learned
    learner, held, cache = Learner(learned.training, None), Held(exploration=0.2), ActionCache()
    earned: list[float] = []
    for first in range(0, events, STEP):
        lines: list[bytes] = []
        observed: list[Observed] = []
        for n in range(first, first + STEP):
            time, shelf = r.choice(list(LIKES)), r.sample(list(LIKES.values()), 4)
            names = [*shelf, *(f"filler{k}" for k in range(fillers))]
            body = orjson.dumps(
                {
                    "contextFeatures": [{"time": time}],
                    "actions": [{"id": f"{name}-{n % 7}", "features": [{"topic": name}]} for name in names],
                    "excludedActions": [f"{shelf[0]}-{n % 7}"] if n % 10 == 0 else [],
                    "eventId": f"visit-{n}",
                }
            )
            decision = decide(rank_request(body, MOST_ACTIONS), is_plain(body), loop, held, cache)
            lines.append(log_line(decision, float(n), False))
            chosen = orjson.loads(decision.body)["rewardActionId"].split("-")[0]
            earned.append(float(LIKES[time] == chosen))
            observed.append(Observed(f"visit-{n}", n + 1.0, "r", earned[-1]))
        joined = join(decode_events(lines), observed, [], RULES).lines
        for line in joined:
            _check(line, held)
        lesson = learn(learner, joined, job(arguments))
        assert (lesson.events, lesson.refused) == (STEP, 0)
        if held.model:
            held.model.close()
        held = Held(model=ServingModel(learner.save(), learned.serving(0.2)), policy=learned, exploration=0.2)
    learner.close()
    return earned


def _check(line: bytes, held: Held) -> None:
    """The label's probability is the one it was drawn with, and the model decides the same once more."""
    logged = orjson.loads(line)
    assert sum(logged["p"]) == pytest.approx(1, abs=1e-5)
    assert logged["p"][0] > 0
    assert logged["_label_probability"] == pytest.approx(max(logged["p"][0], MIN_PROBABILITY), rel=1e-7)
    assert logged["a"][0] == logged["_labelIndex"] + 1
    entry = entries.of_line(line)
    again = entries.of_line(decide_again(entry, LOOP, held).dsjson)
    assert (again.order, again.probabilities) == (entry.order, entry.probabilities)


@pytest.mark.parametrize("name", EXPLORATIONS)
def test_an_exploration_learns_what_pays(name: str) -> None:
    earned = play(f"--cb_explore_adf --cb_type mtr -q :: {EXPLORATIONS[name]}")

    first, last = fmean(earned[:STEP]), fmean(earned[-500:])
    print(f"{name}: first {STEP} {first:.3f}, last 500 {last:.3f}")  # shown by pytest -s
    assert first == pytest.approx(0.25, abs=0.2)  # which is uniform
    assert last > 0.55


def test_of_a_thousand_actions_one_is_drawn_logged_learned_and_drawn_again() -> None:
    earned = play("--cb_explore_adf --epsilon 0.2 -q ::", events=150, fillers=MOST_ACTIONS - 4)

    assert len(earned) == 150


@pytest.mark.parametrize("name", EXPLORATIONS)
def test_an_exploration_learns_what_pays_in_each_slot(name: str) -> None:
    course = Course(f"--ccb_explore_adf --cb_type mtr -q :: {EXPLORATIONS[name]}", name)
    taken = course.play(islice(places(random.Random(11)), 3_000))
    course.close()

    last = fmean(one.reward for one in taken[-500:])
    print(f"{name}: {last:.3f}")
    assert last > 0.4  # 0.25 is uniform
