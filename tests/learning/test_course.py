"""The course of the benchmark is the product's own: the timers and storage around it change no byte of the model."""

import random
from itertools import islice

import pytest

from bench.learning.course import Course
from bench.learning.policies import DEFAULT, FOUND, explored
from bench.learning.tutorials import tutorial
from demo.coffee import COFFEE
from demo.grocery import GROCERY
from demo.scenario import Scenario
from shared.learning import registry
from shared.loops.loops import DEFAULT as LOOP
from tests.learning.player import SEED, Player


@pytest.mark.parametrize(
    ("scenario", "arguments"),
    [(COFFEE, DEFAULT), (GROCERY, DEFAULT), (COFFEE, explored("--bag 3", FOUND))],
    ids=["coffee", "grocery", "bag"],
)
async def test_it_makes_the_model_that_the_timers_make(scenario: Scenario, arguments: str) -> None:
    player = Player(scenario, arguments)
    curve = await player.play(500)
    loop = await player.app.loops.named(LOOP)
    version, _ = await registry.current(player.app.blobs, loop.id)
    assert version is not None
    published = await registry.load(player.app.blobs, loop.id, version)

    course = Course(arguments, scenario.name, loop_id=loop.id)
    taken = course.play(islice(tutorial(scenario)(random.Random(SEED)), 500))
    course.close()

    assert [each.reward for each in taken] == curve.rewards
    assert course.model == published
    assert len(set(curve.rewards[-100:])) > 1
