"""The one door to VW: the quick calls equal its own wrapper, learning resumes to the bit, and refusals are ours."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from vowpalwabbit import Workspace

from shared.learning.model import Learner, ModelError, ServingModel
from shared.loops import policy
from tests.unit.ranking.trained import (
    QUICK_SLOTS,
    SINGLE,
    SLOTS,
    example,
    joined_line,
    joined_slots,
    slots_example,
    trained_model,
)


def examples(count: int) -> list[bytes]:
    r = random.Random(3)
    return [
        orjson.dumps(example(r.randrange(4), [r.randrange(5) for _ in range(r.randrange(1, 12))])) for _ in range(count)
    ]


@pytest.mark.parametrize("arguments", ["--epsilon 0.2", "--epsilon 0", "--epsilon 1"])
def test_scores_equal_those_of_the_wrapper(arguments: str, tmp_path: Path) -> None:
    data = trained_model(300)
    (tmp_path / "model.vw").write_bytes(data)
    theirs = Workspace(f"-i {tmp_path / 'model.vw'} -t --json --quiet {arguments}")
    ours = ServingModel(data, arguments)

    for line in examples(500):
        assert ours.score(line).distribution == theirs.predict(line.decode())
    theirs.finish()
    ours.close()


def test_the_best_is_listed_first() -> None:
    model = ServingModel(trained_model(300), "--epsilon 0.2")

    for line in examples(200):
        scores = model.score(line)
        assert sorted(scores.order) == list(range(len(scores.distribution)))
        assert scores.distribution[scores.order[0]] == max(scores.distribution)
    model.close()


@pytest.mark.parametrize("more", ["", "--bag 3", "--rnd 2", "--squarecb", "--cover 2", "--softmax"])
def test_namespaces_that_were_met_change_no_score(more: str) -> None:
    arguments = f"{SINGLE} {more}"
    plain, met = (ServingModel(trained_model(300, arguments), "") for _ in range(2))
    lines = examples(50)

    met.meet(frozenset(chr(code) for code in range(33, 126)) - set(":|"))
    met.meet(frozenset("ax"))

    assert len(met.met) == 91
    assert [plain.score(line) for line in lines] == [met.score(line) for line in lines]
    plain.close()
    met.close()


def test_namespaces_that_were_met_change_no_draw() -> None:
    plain, met = (ServingModel(trained_model(300, QUICK_SLOTS), "--epsilon 0.2") for _ in range(2))
    lines = [orjson.dumps(slots_example(f"e{n}", [0, 1, 2, 3, 4], 3)) for n in range(50)]

    met.meet(frozenset("ax"))
    met.meet(frozenset('"\\'))

    assert met.met == frozenset('ax"\\')
    assert [plain.score_slots(line) for line in lines] == [met.score_slots(line) for line in lines]
    plain.close()
    met.close()


def test_serving_arguments_override_what_was_trained() -> None:
    line = orjson.dumps(example(1, [0, 1, 2, 3]))
    greedy, even = (ServingModel(trained_model(300), f"--epsilon {epsilon}") for epsilon in (0, 1))

    assert sorted(greedy.score(line).distribution) == [0, 0, 0, 1]
    assert even.score(line).distribution == [0.25] * 4


def test_ranking_does_not_change_the_model() -> None:
    model = ServingModel(trained_model(300), "--epsilon 0.2")
    line = examples(1)[0]
    before = model.score(line)

    for other in examples(300):
        model.score(other)

    assert model.score(line) == before


@pytest.mark.parametrize("cuts", [[1], [100], [299], [50, 100, 150, 250]])
@pytest.mark.parametrize("arguments", [SINGLE, SLOTS])
def test_learning_in_parts_makes_the_same_file(cuts: list[int], arguments: str) -> None:
    r = random.Random(5)
    lines = [(joined_line if arguments == SINGLE else joined_slots)(r) for _ in range(300)]
    straight = Learner(arguments, None)
    for line in lines:
        straight.learn(line)

    data: bytes | None = None
    for start, end in zip([0, *cuts], [*cuts, 300], strict=True):
        part = Learner(arguments, data)
        for line in lines[start:end]:
            part.learn(line)
        data = part.save()
        part.close()

    assert data == straight.save()


def test_loss_is_the_sum_over_all_parts() -> None:
    r = random.Random(5)
    lines = [joined_line(r) for _ in range(200)]
    learner = Learner(SINGLE, None)
    for line in lines[:100]:
        learner.learn(line)
    resumed = Learner(SINGLE, learner.save())
    for line in lines[100:]:
        learner.learn(line)
        resumed.learn(line)

    assert learner.loss < 0  # rewards are negative costs
    assert resumed.loss == pytest.approx(learner.loss)


def test_learning_changes_what_is_served() -> None:
    assert trained_model(300) != trained_model(299)
    line = orjson.dumps(example(2, [0, 1, 2, 3]))
    untrained, trained = (ServingModel(trained_model(n), "--epsilon 0.2") for n in (0, 3000))

    assert untrained.score(line).distribution == [0.25] * 4
    assert trained.score(line).distribution != [0.25] * 4


def test_lines_that_vw_passes_over_do_no_harm_however_many() -> None:
    learner = Learner(SINGLE, trained_model(300))
    before = learner.save()

    for _ in range(50):  # VW hands out one and the same example for each; giving it back twice ends the process
        with pytest.raises(ModelError):
            learner.learn(b"garbage")

    assert learner.save() == before


def test_a_line_that_vw_refuses_is_a_model_error_and_learning_goes_on() -> None:
    r = random.Random(5)
    learner, other = (Learner(SINGLE, None) for _ in range(2))
    without_index = joined_line(r).replace(b'"_labelIndex"', b'"_unknown"')
    good = joined_line(r)

    with pytest.raises(ModelError, match="badly formatted"):
        learner.learn(without_index)
    learner.learn(good)
    other.learn(good)

    assert learner.loss == other.loss


@pytest.mark.parametrize("line", [b"", b"{", b"garbage", b'{"_labelIndex":0,"c":{"_multi":[{"f":["x"]}]}}'])
def test_a_line_that_vw_would_pass_over_is_a_model_error_and_learning_goes_on(line: bytes) -> None:
    learner = Learner(SINGLE, trained_model(300))
    before = learner.loss

    with pytest.raises(ModelError):
        learner.learn(line)

    assert learner.loss == before
    r = random.Random(5)
    for _ in range(20):  # of which some pay
        learner.learn(joined_line(r))
    assert learner.loss != before


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"_multi":[{"f":["x"]}]}',
        b'{"FromUrl":[{"n":NaN}],"_multi":[{}]}',
        b'{"_multi":[{"_label_cost":1}]}',
    ],
)
def test_an_example_that_vw_refuses_is_a_model_error_and_serving_goes_on(line: bytes) -> None:
    model = ServingModel(trained_model(300), "--epsilon 0.2")
    good = examples(1)[0]
    before = model.score(good)

    with pytest.raises(ModelError):
        model.score(line)

    assert model.score(good) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"garbage",
        lambda data: data[:10],
        lambda data: bytes(len(data)),
        lambda data: b"\xff" * len(data),
    ],
    ids=["empty", "garbage", "header", "zeros", "ones"],
)
def test_a_damaged_file_is_a_model_error(damage: object) -> None:
    assert callable(damage)
    data = damage(trained_model(300))

    with pytest.raises(ModelError):
        ServingModel(data, "--epsilon 0.2")
    with pytest.raises(ModelError):
        Learner(SINGLE, data)


def test_vw_may_take_a_file_cut_short_which_is_why_hashes_are_checked() -> None:
    data = trained_model(300)

    cut = ServingModel(data[: len(data) // 2], "--epsilon 0.2")

    assert cut.score(examples(1)[0]) != ServingModel(data, "--epsilon 0.2").score(examples(1)[0])


@pytest.mark.parametrize("arguments", ["--no_such_option", "--epsilon 2", "--epsilon x"])
def test_arguments_that_vw_refuses_are_a_model_error(arguments: str) -> None:
    with pytest.raises(ModelError):
        ServingModel(trained_model(300), arguments)
    with pytest.raises(ModelError):
        Learner(f"--cb_explore_adf {arguments}", None)


def test_models_load_where_the_system_has_no_files_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ServingModel(trained_model(300), "--epsilon 0.2").score(examples(1)[0])
    monkeypatch.delattr(os, "memfd_create", raising=False)

    assert ServingModel(trained_model(300), "--epsilon 0.2").score(examples(1)[0]) == expected


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_loading_and_saving_leave_no_file_open() -> None:
    data = trained_model(300)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        ServingModel(data, "").close()
        learner = Learner("", data)
        assert learner.save() == data
        learner.close()
        with pytest.raises(ModelError):
            ServingModel(b"garbage", "")

    assert len(os.listdir("/proc/self/fd")) == before


# -- what comes out of it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [SINGLE, SLOTS])
def test_what_is_no_distribution_is_a_model_error_and_serving_goes_on(arguments: str) -> None:
    """A softmax of a cost that is infinite; the sanitiser takes no feature as large as that."""
    softmax = arguments.replace("--epsilon 0.2", "--softmax --lambda 1000000")
    model = ServingModel(trained_model(50, softmax), "")
    made = example(1, [0, 1, 2]) if arguments == SINGLE else slots_example("e", [0, 1, 2], 2)
    score: Callable[[bytes], object] = model.score if arguments == SINGLE else model.score_slots
    good = orjson.dumps(made)
    before = score(good)

    for _ in range(20):
        with pytest.raises(ModelError, match="makes no distribution"):
            score(good.replace(b'"hour":1', b'"hour":1,"huge":3e38'))

    assert score(good) == before
    model.close()


@pytest.mark.parametrize("arguments", [SINGLE, SLOTS])
def test_a_model_tells_what_it_was_made_with_and_not_how_it_is_driven(arguments: str) -> None:
    new, resumed = Learner(arguments, None), Learner("", trained_model(20, arguments))
    given = policy.read(arguments.replace("-l 0.001", "-l 0.00100000004749745")).lineage  # as VW spells it

    assert options_of(policy.of_model(new.arguments).lineage) == options_of(given)
    assert options_of(policy.of_model(resumed.arguments).lineage) == options_of(f"{given} --bit_precision 18")
    for learner in (new, resumed):
        for driven in ("regressor", "ring_size", "dsjson", "quiet", "preserve", "/proc", "stdin"):
            assert driven not in learner.arguments
        learner.close()


def options_of(arguments: str) -> set[str]:
    return {option.strip() for option in f" {arguments}".split(" --")}


def test_what_is_not_in_the_file_is_told_again() -> None:
    """l1 moves small weights to zero, and VW forgets it with the file."""
    r = random.Random(5)
    lines = [joined_line(r) for _ in range(100)]
    sparse = SINGLE + " --l1 0.0001"
    straight, half = Learner(sparse, None), Learner(sparse, None)
    for line in lines[:50]:
        straight.learn(line)
        half.learn(line)
    resumed, forgetful = Learner(sparse, half.save(), "--l1 0.0001"), Learner(sparse, half.save())
    for line in lines[50:]:
        for learner in (straight, resumed, forgetful):
            learner.learn(line)

    assert resumed.save() == straight.save()
    assert forgetful.save() != straight.save()


# -- slots -----------------------------------------------------------------------------------------------------------


def slot_examples(count: int) -> list[bytes]:
    r = random.Random(4)
    sizes = [(n, r.randrange(1, n + 1)) for n in (r.randrange(1, 9) for _ in range(count))]
    return [
        orjson.dumps(slots_example(f"e{k}", [r.randrange(5) for _ in range(n)], slots))
        for k, (n, slots) in enumerate(sizes)
    ]


@pytest.mark.parametrize("arguments", ["--epsilon 0.2", "--epsilon 0", "--epsilon 1"])
def test_draws_equal_those_of_the_wrapper(arguments: str, tmp_path: Path) -> None:
    data = trained_model(300, QUICK_SLOTS)
    (tmp_path / "model.vw").write_bytes(data)
    theirs = Workspace(f"-i {tmp_path / 'model.vw'} -t --json --quiet {arguments}")
    ours = ServingModel(data, arguments)

    for line in slot_examples(300):
        assert ours.score_slots(line) == theirs.predict(line.decode())
    theirs.finish()
    ours.close()


def test_no_action_is_drawn_twice_and_probabilities_add_up() -> None:
    model = ServingModel(trained_model(300, QUICK_SLOTS), "--epsilon 0.2")

    for line in slot_examples(200):
        drawn = model.score_slots(line)
        taken = [slot[0][0] for slot in drawn]
        assert len(set(taken)) == len(taken) == len(orjson.loads(line)["_slots"])
        assert [sum(p for _, p in slot) for slot in drawn] == pytest.approx([1.0] * len(drawn), abs=1e-5)
        for place, slot in enumerate(drawn):  # a later slot lists what earlier ones have left
            assert not {action for action, _ in slot} & set(taken[:place])
    model.close()


def test_learning_from_slots_changes_what_is_drawn() -> None:
    greedy = ServingModel(trained_model(1500, QUICK_SLOTS), "--epsilon 0")
    lines = slot_examples(200)
    paying = [
        {place for place, topic in enumerate(topics) if topic == 0}
        for topics in ([int(a["j"][0]["topic"][1:]) for a in orjson.loads(line)["_multi"]] for line in lines)
    ]

    # In the first place topic 0 pays.
    found = [greedy.score_slots(line)[0][0][0] in pay for line, pay in zip(lines, paying, strict=True) if pay]

    greedy.close()
    assert sum(found) > 0.9 * len(found)


@pytest.mark.parametrize(
    "line", [b"", b"{", b'{"_multi":[{"f":["x"]}],"_slots":[{}]}', b'{"_multi":[{}],"_slots":[{},{}]}']
)
def test_slots_that_vw_refuses_are_a_model_error_and_serving_goes_on(line: bytes) -> None:
    model = ServingModel(trained_model(300, QUICK_SLOTS), "--epsilon 0.2")
    good = slot_examples(1)[0]
    before = model.score_slots(good)

    with pytest.raises(ModelError):
        model.score_slots(line)

    assert model.score_slots(good) == before


@pytest.mark.parametrize(
    ("arguments", "multi_slot"),
    [
        (SINGLE, False),
        (SLOTS, True),
        ("--cb_explore_adf --first 5", False),
        ("--cb_adf", None),
        ("--quadratic ab", None),
    ],
)
def test_a_model_says_what_it_explores(arguments: str, multi_slot: bool | None) -> None:
    model = ServingModel(trained_model(0, arguments) if multi_slot is not None else untrained(arguments), "")

    assert model.multi_slot is multi_slot
    model.close()


def untrained(arguments: str) -> bytes:
    learner = Learner(arguments, None)
    saved = learner.save()
    learner.close()
    return saved
