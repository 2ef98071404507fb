"""The draw is VW's own: the same event id draws the same action here, in VW and in Personalizer's clients."""

from __future__ import annotations

import random
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vowpalwabbit import Workspace

from shared.learning.model import ServingModel
from shared.ranking.explore import choose
from shared.ranking.sampling import draw, seed, uniform, uniform_hash
from tests.unit.ranking.trained import trained_model

LOOP = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Published test vectors of MurmurHash3, 32 bits, seed 0; then one for each length of the tail.
        ("", 0),
        ("hello", 0x248BFA47),
        ("hello, world", 0x149BBB7F),
        ("The quick brown fox jumps over the lazy dog", 0x2E4FF723),
        ("a", 0x3C2569B2),
        ("ab", 0x9BBFD75F),
        ("abc", 0xB3DD93FA),
        ("abcd", 0x43ED676A),
        ("é🎉", 0x68620213),
        ("x" * 256, 0x4265AB42),
    ],
)
def test_the_hash_is_murmur3(text: str, expected: int) -> None:
    assert uniform_hash(text) == expected


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (0, 7.510185241699219e-06),
        (1, 0.4017084836959839),
        (42, 0.8714457750320435),
        (2**32 - 1, 0.49840736389160156),
        (2**33 - 2, 0.9968072175979614),
    ],
)
def test_the_random_number_of_a_seed_never_changes(of: int, expected: float) -> None:
    assert uniform(of) == expected


def test_the_seed_is_the_sum_of_both_hashes() -> None:
    assert seed("e1", LOOP) == 3548475187
    assert seed("e1", LOOP) == uniform_hash("e1") + uniform_hash(LOOP)
    assert seed("e1", "f" * 32) != seed("e1", LOOP)


@given(st.integers(0, 2**33))
def test_the_random_number_is_in_the_unit_interval(of: int) -> None:
    assert 0 <= uniform(of) < 1


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        # The random number of seed 1 is 0.4017.
        ([1.0], 0),
        ([0.41, 0.59], 0),
        ([0.4, 0.6], 1),
        ([0.2, 0.2, 0.6], 2),
        ([0.8, 1.2], 1),
        ([4.1, 5.9], 0),
        ([0.0, 0.0, 1.0], 2),
        ([1.0, 0.0], 0),
        ([0.0, 0.0], 1),
    ],
)
def test_the_first_whose_running_sum_exceeds_the_number_is_drawn(probabilities: list[float], expected: int) -> None:
    assert draw(1, probabilities) == expected


@given(st.integers(0, 2**33), st.lists(st.floats(0, 1), min_size=1, max_size=50).filter(lambda p: sum(p) > 1e-3))
def test_an_action_without_probability_is_never_drawn(of: int, probabilities: list[float]) -> None:
    assert probabilities[draw(of, probabilities)] > 0


EXPLORATIONS = {
    "epsilon-greedy": "--epsilon 0.2",
    "most explored": "--epsilon 0.9",
    "first only": "--epsilon 0.3 --first_only",
    "squarecb": "--squarecb",
    "softmax": "--softmax --lambda 3",
    "first": "--first 400 --epsilon 0.2",
    "first, past it": "--first 100 --epsilon 0.2",
    "cover": "--cover 3 --epsilon 0.2",
    "cover, without uniform": "--cover 4 --nounif --cb_type dr",
    "rnd": "--rnd 3 --epsilon 0.1",
    "synthcover": "--synthcover --epsilon 0.1",
    "regcb": "--regcb --cb_min_cost -1 --cb_max_cost 1",
    "bag": "--bag 5 --epsilon 0.2",
    "bag, greedy": "--bag 5 --greedify --first_only",
}


@pytest.mark.parametrize("events", [0, 300])
@pytest.mark.parametrize("name", EXPLORATIONS)
def test_vw_ranks_and_draws_the_same_with_the_same_seed(name: str, events: int, tmp_path: Path) -> None:
    """With `--bag` alone the order of equally probable actions is not VW's, so a seed may draw another of them."""
    r = random.Random(7)
    model = trained_model(events, f"--cb_explore_adf --power_t 0 -l 0.01 -q :: {EXPLORATIONS[name]}")
    (tmp_path / "model.vw").write_bytes(model)
    serving = ServingModel(model, "")
    lines, ours = [], []
    for n in range(600):
        event_id = f"{r.getrandbits(128):032x}-aUx76"[: r.randrange(1, 39)] + r.choice(("", "é", "/x", "🎉"))
        actions = [
            {"_tag": f"a{k}", "i": {"constant": 1, "id": f"a{k}"}, "j": [{"topic": f"t{r.randrange(5)}"}]}
            for k in range(r.randrange(1, 9) if n % 10 else 60)  # sorting goes another way above 16
        ]
        example = {"FromUrl": [{"time": f"t{n % 4}"}], "_multi": actions}
        lines.append(orjson.dumps({"_tag": f"seed={event_id}", **example}))
        scores = serving.score(orjson.dumps(example))
        ours.append(choose(scores.distribution, scores.order, uniform_hash(event_id)))
    serving.close()
    (tmp_path / "events.json").write_bytes(b"\n".join(lines) + b"\n")
    vw = Workspace(
        f"-i {tmp_path / 'model.vw'} -t --json --quiet --cb_sample "
        f"-d {tmp_path / 'events.json'} -p {tmp_path / 'drawn.txt'}"
    )
    vw.finish()
    drawn = [line.split(" ")[0] for line in (tmp_path / "drawn.txt").read_text().splitlines() if line]
    theirs = [[(int(a), float(p)) for a, p in (entry.split(":") for entry in line.split(","))] for line in drawn]

    assert len(theirs) == len(ours)
    for choice, list_ in zip(ours, theirs, strict=True):
        assert abs(sum(choice.probabilities) - 1) < 1e-5
        assert choice.probabilities[0] > 0
        told = dict(zip(choice.order, choice.probabilities, strict=True))
        assert all(abs(told[action] - p) < 1e-5 for action, p in list_)
        if not name.startswith("bag"):
            assert choice.order == [action for action, _ in list_]
