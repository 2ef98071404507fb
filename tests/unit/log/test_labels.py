"""Labels that learning may see: whatever an old or a foreign line holds, nothing else reaches VW."""

from __future__ import annotations

import math

import orjson
import pytest

from shared.learning.lesson import Job, learn
from shared.learning.model import Learner
from shared.log.join import MIN_PROBABILITY, Rules, decode_events, join
from shared.log.labels import sound
from shared.log.records import ONLINE, Observed
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from tests.unit.health import planted

PLAIN = planted.lines(1)[0]
ODD = ['"NaN"', "1e999", "NaN", "-Infinity", "1e300", "true", '"1"', "[1]"]
JOB = Job("0" * 32, DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT], "", "", False, ONLINE, 0, 0, 0, 300.0)


def _with(label: bytes, value: str) -> bytes:
    """A joined line with another value of a label."""
    before, _, rest = PLAIN.partition(label)
    return before + label + value.encode() + rest[rest.index(b",") :]


def _slot(cost: str, probability: str) -> bytes:
    outcome = f'{{"_label_cost":{cost},"_id":"x","_a":[0,1],"_p":[{probability},0.5],"_o":[]}}'
    empty = '{"_id":"y","_a":[],"_p":[],"_o":[]}'
    return f'{{"EventId":"e","c":{{"_multi":[]}},"_outcomes":[{outcome},{empty}]}}'.encode()


def test_what_the_join_writes_is_sound() -> None:
    assert sound(PLAIN)
    assert sound(_slot("-1.0", "0.5"))
    assert all(sound(_with(b'"_label_probability":', value)) for value in (str(MIN_PROBABILITY), "1", "1.00000012"))


@pytest.mark.parametrize("value", ODD)
def test_an_odd_cost_is_not(value: str) -> None:
    assert not sound(_with(b'"_label_cost":', value))
    assert not sound(_slot(value, "0.5"))


@pytest.mark.parametrize("value", [*ODD, "0", "-0.5", "1e-40", "0.0009", "2"])
def test_an_odd_probability_is_not(value: str) -> None:
    assert not sound(_with(b'"_label_probability":', value))
    assert not sound(_slot("-1.0", value))


def test_a_slot_with_a_cost_and_without_probabilities_is_not() -> None:
    assert not sound(_slot("-1.0", "0.5").replace(b'"_p":[0.5,0.5]', b'"_p":[]'))
    assert not sound(b"\xff")


@pytest.mark.parametrize("label", [b'"_label_cost":', b'"_label_probability":'])
@pytest.mark.parametrize("value", [*ODD, "null", "1e-40", "-1"])
def test_whatever_a_line_holds_the_model_stays_finite(label: bytes, value: str) -> None:
    learner = Learner(JOB.arguments, None)
    try:
        lesson = learn(learner, [PLAIN, _with(label, value), PLAIN], JOB)
    finally:
        learner.close()

    assert lesson.events + lesson.refused == 3
    assert lesson.events >= 2
    assert math.isfinite(lesson.loss)


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, 1e308, -5.0])
@pytest.mark.parametrize("aggregation", ["earliest", "sum", "average", "median", "min", "max"])
def test_no_reward_leads_the_join_out_of_the_range(reward: float, aggregation: str) -> None:
    rank = (
        b'{"e":"e","t":1.0,"d":false,"a":0,"p":1e-30,"m":"Online",'
        b'"r":{"Timestamp":"1970-01-01T00:00:01.000000Z","Version":"1","EventId":"e","a":[1,2],'
        b'"c":{"FromUrl":[],"_multi":[]},"p":[0.5,0.5],"VWState":{"m":"N/A"}}}'
    )
    observed = [Observed("e", 2.0, "r", reward), Observed("e", 3.0, "r", 0.5)]

    (line,) = join(decode_events([rank]), observed, [], Rules(60.0, 0.0, aggregation, (-1.0, 1.0))).lines

    assert sound(line)
    assert -1.0 <= orjson.loads(line)["_label_cost"] <= 1.0
    assert orjson.loads(line)["_label_probability"] == MIN_PROBABILITY
