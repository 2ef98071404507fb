"""The allow-list of VW options, held against VW's own list of them and against VW itself."""

from __future__ import annotations

import random
import re
import string
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vowpalwabbit import Workspace

from shared.contract.errors import ApiError
from shared.learning import trial
from shared.learning.trial import Trial
from shared.loops import policy
from shared.loops.options import MAX_BITS, MAX_INTERACTIONS, MAX_ORDER, MAX_POLICIES, Option, read
from shared.loops.policy import Policy, Problem
from tests.unit.loops.vw_child import try_all

ONE = "--cb_explore_adf"
FLAGS = (
    "cb_explore_adf", "ccb_explore_adf", "rank_all", "first_only", "greedify", "nounif", "softmax", "squarecb",
    "regcb",    "synthcover", "sgd", "adaptive", "invariant", "normalized", "noconstant",
)  # fmt: skip
NUMBERS = {
    # name: the lowest and the highest value
    "cb_min_cost": (-1000, 1000),
    "cb_max_cost": (-1000, 1000),
    "epsilon": (0, 1),
    "mellowness": (0, 1000),
    "psi": (0, 1000),
    "lambda": (-1e6, 1e6),
    "gamma_scale": (0, 1e4),
    "gamma_exponent": (0, 2),
    "rnd_alpha": (0, 1000),
    "rnd_invlambda": (0, 1000),
    "synthcoverpsi": (0, 1000),
    "learning_rate": (0, 1000),
    "power_t": (-10, 10),
    "l1": (0, 1),
    "l2": (0, 1),
    "constant": (-1000, 1000),
}
WHOLE = {
    "first": (0, 999_999_999),
    "random_seed": (0, 999_999_999),
    "bag": (1, MAX_POLICIES),
    "cover": (1, MAX_POLICIES),
    "rnd": (1, MAX_POLICIES),
    "bit_precision": (8, MAX_BITS),
}
WORDS = {"cb_type": ("mtr", "ips", "dr", "dm"), "hash": ("all", "strings"), "marginal": ("i",)}
NAMESPACES = {
    # name: the fewest and the most namespaces, and how many of them may be any
    "quadratic": (2, 2, 2),
    "cubic": (3, 3, 1),
    "interactions": (2, MAX_ORDER, 1),
    "ignore": (1, 1, 0),
    "ignore_linear": (1, 1, 0),
    "keep": (1, 1, 0),
}
ALLOWED = {*FLAGS, *NUMBERS, *WHOLE, *WORDS, *NAMESPACES}
SHORT = {"q": "quadratic", "l": "learning_rate", "b": "bit_precision"}
LEFT_OUT = ("json", "dsjson", "quiet", "save_resume", "preserve_performance_counters")
ADRIFT = ("model.vw", "1", "0.5", "x", "ab", "abc", "::", "mtr", "all", "/tmp/x", "", "-")
"""Values of all kinds, one of which any option of VW would take."""

ACCEPTED = (
    # Personalizer's own, and the explorations of VW, each with its settings
    "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::",
    "--ccb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::",
    "--cb_explore_adf --epsilon 0.2 --first_only --cb_type ips",
    "--cb_explore_adf --first 100 --epsilon 0.1 --cb_type dr",
    "--cb_explore_adf --bag 5 --greedify --epsilon 0.1 --first_only --cb_type dm",
    "--cb_explore_adf --cover 4 --psi 0.5 --nounif --epsilon 0.1 --first_only --cb_type mtr",
    "--cb_explore_adf --softmax --lambda 10",
    "--cb_explore_adf --softmax --lambda -10",
    "--cb_explore_adf --squarecb --gamma_scale 10 --gamma_exponent 0.5 --cb_min_cost -1 --cb_max_cost 0",
    "--cb_explore_adf --rnd 3 --rnd_alpha 0.1 --rnd_invlambda 0.1 --epsilon 0.1",
    "--cb_explore_adf --synthcover --synthcoverpsi 0.1 --epsilon 0.1",
    "--cb_explore_adf --regcb --mellowness 0.01 --first_only",
    "--ccb_explore_adf --squarecb",
    "--ccb_explore_adf --cover 3 --epsilon 0.1",
    "--ccb_explore_adf --rnd 3 --epsilon 0.1",
    "--ccb_explore_adf --first 100 --epsilon 0.1",
    "--ccb_explore_adf --synthcover --epsilon 0.1",
    "--ccb_explore_adf --regcb",
    "--ccb_explore_adf --softmax --lambda 5",
    "--ccb_explore_adf --bag 3",
    # what it learns by
    "--cb_explore_adf --rank_all --random_seed 7",
    "--cb_explore_adf --sgd -l 0.5 --power_t 0.5 --l1 0.001 --l2 0.001",
    "--cb_explore_adf --adaptive --invariant --normalized",
    # what it learns from
    "--cb_explore_adf -b 18 --hash all --noconstant --ignore a --ignore_linear b --keep F --keep j",
    "--cb_explore_adf --hash strings --constant 1 -q ab --cubic ab: --interactions Fij:",
    "--cb_explore_adf --marginal i -q ::",
)


def trial_of(taken: Policy) -> Trial:
    return Trial(taken.training, taken.resuming, taken.serving(0.2), taken.problem is Problem.MULTI_SLOT)


def refusal(arguments: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(arguments)
    error = caught.value
    assert (error.code, error.status, error.target) == ("InvalidPolicyConfiguration", 400, "arguments")
    assert error.message.startswith("arguments: the option ")
    assert len(error.message) < 200
    return error


def refused(arguments: str) -> bool:
    """Whether the options are refused, in the right words."""
    try:
        read(arguments)
    except ApiError:
        refusal(arguments)
        return True
    return False


@cache
def vw_options() -> dict[str, str]:
    """Every option that VW knows, with its short name or nothing."""
    workspace = Workspace(f"{ONE} --quiet")
    found = {
        option.name: option.short_name
        for groups in workspace.get_config(filtered_enabled_reductions_only=False).values()
        for _, options in groups
        for option in options
    }
    workspace.finish()
    return found


def test_vw_tells_all_of_its_options() -> None:
    known = vw_options()

    assert len(known) > 300
    assert {"final_regressor", "predictions", "daemon", "extra_metrics", "cache_file", "port"} <= set(known)
    assert {short for short in known.values() if short} >= set("fipdqlbct")


@pytest.mark.parametrize("arguments", ACCEPTED)
def test_personalizers_and_vws_own_explorations_are_taken_and_start(arguments: str) -> None:
    assert trial.verdict(trial_of(policy.read(arguments))).problem == ""


def test_every_option_that_is_taken_is_one_that_vw_starts_with() -> None:
    used = {option.name for arguments in ACCEPTED for option in read(arguments)}

    assert used == ALLOWED
    assert used <= set(vw_options())


@pytest.mark.parametrize("name", sorted({*vw_options(), "span_server_port", "no_such_option", "", "-", "f", "i"}))
def test_no_other_option_of_vw_is_taken(name: str) -> None:
    if name in ALLOWED or name in LEFT_OUT:
        return
    for value in ADRIFT:
        for spelled in (f"--{name}", f"--{name} {value}", f"--{name}={value}", f"-{name}", f"-{name} {value}"):
            assert refused(f"{ONE} {spelled}"), spelled
            assert refused(f"{spelled} {ONE}"), spelled


@pytest.mark.parametrize("letter", sorted(set(string.printable) - set("qlb") - set(string.whitespace)))
def test_no_other_short_name_is_taken_however_it_is_written(letter: str) -> None:
    for value in ADRIFT:
        for spelled in (f"-{letter}", f"-{letter} {value}", f"-{letter}{value}", f"-{letter}={value}"):
            assert refused(f"{ONE} {spelled}"), spelled


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_a_name_is_taken_in_full_and_in_its_own_spelling_alone(name: str) -> None:
    for value in ("", " 1", " 0.5", " ab", " mtr"):
        for spelled in (f"--{name[:-1]}", f"--{name}x", f"--{name.upper()}", f"---{name}", f"-- {name}", f"-{name}"):
            if spelled[2:] not in ALLOWED and spelled not in ("-l1", "-l2"):
                assert refused(f"{ONE} {spelled}{value}"), spelled


def test_a_word_without_dashes_is_no_option() -> None:
    for name in sorted((*ALLOWED, *LEFT_OUT)):
        for value in ("", " 1", " 0.5", " ab", " mtr"):
            assert refused(f"{ONE} {name}{value}"), name


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_takes_no_value(name: str) -> None:
    assert read(f"--{name}") == [Option(name, "")]
    for value in ("", "1", "true", "x"):
        assert refused(f"--{name}={value}")
    assert refused(f"--{name} true")


def bounded() -> list[tuple[str, str, str]]:
    """Numeric options with a value that is at a bound, and one that is just behind it."""
    cases = []
    for name, (low, high) in NUMBERS.items():
        cases += [(name, f"{low:g}", f"{low - 0.01:.9g}"), (name, f"{high:g}", f"{high * 1.001:.9g}")]
    for name, (least, most) in WHOLE.items():
        cases += [(name, str(least), str(least - 1)), (name, str(most), str(most + 1))]
    return cases


@pytest.mark.parametrize(("name", "inside", "outside"), bounded())
def test_a_number_is_taken_between_its_bounds(name: str, inside: str, outside: str) -> None:
    assert read(f"--{name} {inside}") == read(f"--{name}={inside}") == [Option(name, inside)]
    assert refused(f"--{name} {outside}")
    assert refused(f"--{name}={outside}")


NO_NUMBERS = (
    "nan", "NaN", "-nan", "inf", "-inf", "Infinity", "1e999", "-1e999", "0x1", "0x1p-3", "1,5", "1.5.1", "1e", "e1",
    "--1", "+-1", "1f", "1L", "½", "1 1", "''", '"1"', "\\1", "$x", "`x`", "/dev/null", "-f", "1\0", "1\x1b",
)  # fmt: skip


@pytest.mark.parametrize("name", [*NUMBERS, *WHOLE])
@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_is_refused(name: str, value: str) -> None:
    assert refused(f"--{name} {value}")
    assert refused(f"--{name}={value}")


def test_a_number_that_python_alone_can_read_is_refused() -> None:
    for value in ("1_0", "0_1", "٣", "0.٣", "1e٣"):
        for name in (*NUMBERS, *WHOLE):
            assert refused(f"--{name} {value}"), f"{name} {value}"


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", ["10.0", "1e1", "-10", "+10", "", "1" * 10, "1" * 1000])
def test_a_whole_number_has_one_to_nine_digits(name: str, value: str) -> None:
    assert refused(f"--{name}={value}")


@pytest.mark.parametrize("name", WORDS)
def test_one_of_a_few_words_is_taken(name: str) -> None:
    for word in WORDS[name]:
        assert read(f"--{name} {word}") == [Option(name, word)]
        for other in (word.upper(), word + "x", word[:-1], f"{word},{word}"):
            assert refused(f"--{name} {other}")
    assert refused(f"--{name}")


@pytest.mark.parametrize("name", NAMESPACES)
def test_namespaces_are_taken_by_their_initials(name: str) -> None:
    fewest, most, wild = NAMESPACES[name]
    for count in {fewest, most}:
        for initial in string.ascii_letters + string.digits:
            assert read(f"--{name} {initial * count}") == [Option(name, initial * count)]
        for anys in range(count + 1):
            initials = ":" * anys + "a" * (count - anys)
            assert refused(f"--{name} {initials}") is (anys > wild), initials
    for initials in ("a" * (most + 1), "a" * (fewest - 1), ""):
        assert refused(f"--{name}={initials}")
    assert refused(f"--{name}")


@pytest.mark.parametrize("name", NAMESPACES)
@pytest.mark.parametrize("odd", [*"\"'\\|-_=/.~\0\x07\x1b\x7f\x80\u200b\ufeffé日🎉\u0663\uff41", "\ud800"])
def test_no_namespace_holds_what_a_command_line_reads_otherwise(name: str, odd: str) -> None:
    fewest, most, _ = NAMESPACES[name]
    for count in {fewest, most}:
        for n in range(count):
            initials = "a" * n + odd + "a" * (count - n - 1)
            assert refused(f"--{name} {initials}")
            assert refused(f"--{name}={initials}")


def test_a_policy_names_few_interactions() -> None:
    for option in ("-q ab", "--cubic abc", "--interactions abcd", "-qab"):
        assert len(read(" ".join([option] * MAX_INTERACTIONS))) == MAX_INTERACTIONS
        with pytest.raises(ApiError) as caught:
            read(" ".join([option] * (MAX_INTERACTIONS + 1)))
        assert caught.value.message == f"arguments: there may be {MAX_INTERACTIONS} interactions at most."


HIDDEN = (
    "-fx",
    "-f",
    "-px",
    "-p",
    "-ix",
    "-i",
    "-dx",
    "-rx",
    "-cx",
    "-k",
    "-t",
    "-a",
    "--",
    "-:",
    "--a",
    "--id",
    "-f/a",
)


@pytest.mark.parametrize("name", [*NAMESPACES, *WORDS, *NUMBERS, *WHOLE])
def test_no_value_looks_like_an_option(name: str) -> None:
    # VW reads `--marginal -f/tmp/x` as two options, of which one writes a file.
    for hidden in HIDDEN:
        assert refused(f"{ONE} --{name} {hidden}"), hidden
        assert refused(f"{ONE} --{name}={hidden}"), hidden


@pytest.mark.parametrize(
    ("written", "option"),
    [
        ("-q ::", Option("quadratic", "::")),
        ("-q::", Option("quadratic", "::")),
        ("-q=::", Option("quadratic", "::")),
        ("--quadratic=::", Option("quadratic", "::")),
        ("-l 0.1", Option("learning_rate", "0.1")),
        ("-l0.1", Option("learning_rate", "0.1")),
        ("-l=0.1", Option("learning_rate", "0.1")),
        ("--epsilon .1e-2", Option("epsilon", ".1e-2")),
        ("-l.1", Option("learning_rate", ".1")),
        ("-b 18", Option("bit_precision", "18")),
        ("-b18", Option("bit_precision", "18")),
        ("--l1=0.1", Option("l1", "0.1")),
        ("--lambda=-5", Option("lambda", "-5")),
    ],
)
def test_short_and_attached_forms_are_the_same_option(written: str, option: Option) -> None:
    assert read(written) == [option]


def test_options_keep_their_order_and_their_repetitions() -> None:
    assert read("-q ab --cb_explore_adf -qcd  --interactions=abc") == [
        ("quadratic", "ab"),
        ("cb_explore_adf", ""),
        ("quadratic", "cd"),
        ("interactions", "abc"),
    ]
    assert read("") == read(" \t\n") == []


@pytest.mark.parametrize("space", [" ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u2028", "\u3000"])
def test_what_separates_options_never_reaches_vw(space: str) -> None:
    taken = policy.read(space.join(("", "--cb_explore_adf", "-l", "0.1", "--cb_type", "mtr", "")))

    assert taken.training == "--cb_explore_adf --learning_rate 0.1 --cb_type mtr"


@pytest.mark.parametrize("name", LEFT_OUT)
def test_how_vw_is_driven_is_passed_over(name: str) -> None:
    assert read(f"--{name} --cb_explore_adf --{name} -q ab --{name}") == [("cb_explore_adf", ""), ("quadratic", "ab")]
    assert policy.read(f"--cb_explore_adf --{name}").training == "--cb_explore_adf"
    for spelled in (f"--{name}=1", f"--{name} 1", f"-{name}", f"--{name}x"):
        assert refused(f"{ONE} {spelled}")


@pytest.mark.parametrize(
    "arguments",
    [
        '--cb_explore_adf "--final_regressor" x',
        "--cb_explore_adf '-f' x",
        "--cb_explore_adf \\--final_regressor x",
        "--cb_explore_adf --cb_type 'mtr'",
        '--cb_explore_adf --cb_type "mtr"',
        "--cb_explore_adf --cb_type mtr\\ -f\\ x",
        "--cb_explore_adf -q a\\",
        "--cb_explore_adf -q 'a",
        "--cb_explore_adf\0--final_regressor",
        "--cb_explore_adf\u200b",
        "\ufeff--cb_explore_adf",
        "--cb_explore_adf # comment",
        "--cb_explore_adf; rm -rf /",
        "--cb_explore_adf $(id)",
        "--cb_explore_adf \u2013epsilon 0.1",
        "--cb_explore_adf -- -f x",
        "--cb_explore_adf - f",
        "--cb_explore_adf -q :: ::",
        "--cb_explore_adf --epsilon 0.1 0.2",
        "--cb_explore_adf --cb_explore_adf=1",
        "--cb_explore_adf --\u0131gnore a",
        "--cb_explore_adf --\ud800",
    ],
)
def test_tricks_of_a_shell_are_refused(arguments: str) -> None:
    refusal(arguments)


@pytest.mark.parametrize("length", [100, 100_000])
def test_a_refusal_quotes_the_start_only(length: int) -> None:
    for arguments in (f"--{'x' * length}", f"--epsilon {'x' * length}", f"--epsilon={'9' * length}"):
        assert "x" * 70 not in refusal(arguments).message


def test_memory_and_work_are_bounded() -> None:
    assert 2**MAX_BITS * 4 * 4 <= 64 * 2**20  # four floats a weight
    assert MAX_POLICIES <= 20
    for arguments in ("-b 23", "-b23", "--bit_precision 32", "--bag 21", "--cover 100", "--rnd 99999999999999999999"):
        refusal(f"{ONE} {arguments}")


# -- whatever is taken ----------------------------------------------------------------------------------------------

_VALUES = [
    "0", "1", "0.5", "-1", "1e-3", "2e5", "nan", "1e999", "1_0", "٣", "ab", "::", "abc", ":", "i", "ijk", "mtr", "all",
    "18", "3", *HIDDEN, "--dry_run", "x'y", 'x"', "a\\", "é", "~!", "{}", "=", "==", "@file", "",
]  # fmt: skip
_SEPARATORS = [" ", "=", "", "  ", "\n", "\0"]


def drawn(r: random.Random) -> str:
    """A policy that may be anything, and mostly is one."""
    known = sorted(vw_options())
    words = [r.choice([ONE, "--ccb_explore_adf"])]
    for _ in range(r.randrange(8)):
        name = r.choice(sorted(r.choice([ALLOWED, ALLOWED, NAMESPACES])) if r.random() < 0.95 else known)
        spelled = f"--{name}" if r.random() < 0.9 else f"-{r.choice(string.ascii_letters)}"
        value = r.choice(_VALUES)
        if name in NAMESPACES and r.random() < 0.8:
            value = "".join(r.choices("-fpdtb:", k=r.randint(*NAMESPACES[name][:2])))
        alone = name in FLAGS and r.random() < 0.95
        words.append(spelled if alone else spelled + r.choice(_SEPARATORS[: r.choice([1, 2, 6])]) + value)
    return " ".join(words)


@settings(max_examples=1000)
@given(st.text(max_size=60) | st.integers(0, 10**9).map(random.Random).map(drawn))
def test_whatever_is_taken_holds_allowed_options_alone(arguments: str) -> None:
    try:
        taken = policy.read(arguments)
    except ApiError as e:
        assert (e.code, e.status) == ("InvalidPolicyConfiguration", 400)
        return
    words = iter(taken.training.split(" "))
    for name, value in read(arguments):
        assert name in ALLOWED
        assert next(words) == f"--{name}"
        assert name in FLAGS or next(words) == value
        assert not re.match("-[^0-9.]", value)
    assert list(words) == []
    assert taken.training.isascii()
    assert taken.training.isprintable()
    assert not set(taken.training) & set("\"'\\")


def test_vw_writes_nothing_and_lives_or_dies_by_itself_with_whatever_is_taken(tmp_path: Path) -> None:
    r = random.Random(1)
    taken: dict[str, Trial] = {}
    while len(taken) < 200:
        try:
            read_ = policy.read(drawn(r))
        except ApiError:
            continue
        taken[read_.training] = trial_of(read_)

    answers = try_all(list(taken.values()), tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [], "a policy has written a file"
    assert answers.count("ok") > len(taken) / 2
    assert set(answers) <= {"ok", "refused", "died"}
