"""The published tutorials through the product's own pipeline, in this process: `bench/player.py` says how."""

from bench.learn import GOALS, ends
from bench.player import Player
from demo.coffee import COFFEE
from demo.grocery import GROCERY
from shared.learning import registry
from shared.loops.loops import DEFAULT


async def test_grocery_reaches_what_exploration_leaves() -> None:
    first, last = ends((await Player(GROCERY).play(5_000)).rewards)

    print(f"grocery: first 1,000 {first:.3f}, last 1,000 {last:.3f}")
    assert last >= GOALS["grocery"]


async def test_coffee_learns_what_pairs_of_features_can_tell() -> None:
    first, last = ends((await Player(COFFEE).play(10_000)).rewards)

    print(f"coffee: first 1,000 {first:.3f}, last 1,000 {last:.3f}")
    assert last >= GOALS["coffee"]
    assert last > first


async def test_the_same_run_gives_the_same_model() -> None:
    versions = []
    for _ in range(2):
        player = Player(COFFEE)
        await player.play(300)
        versions.append((await registry.current(player.app.blobs, (await player.app.loops.named(DEFAULT)).id))[0])

    assert versions[0] == versions[1]
