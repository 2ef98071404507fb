from dataclasses import replace

import orjson
import pytest

from shared.contract.errors import ApiError
from shared.loops import limits, settings
from shared.loops.limits import PERSONALIZERS, Limits
from shared.loops.service import ServiceConfiguration
from tests.unit.loops.test_settings import ID, LOOP

HELD = ServiceConfiguration()


def test_nothing_goes_beyond_personalizer_unless_somebody_said_so() -> None:
    assert Limits(2 * 86_400, 50) == PERSONALIZERS
    assert limits.put(None, None, Limits(5.0), HELD) == Limits(5.0)


@pytest.mark.parametrize(("text", "seconds"), [("P60D", 5_184_000), ("60.00:00:00", 5_184_000), ("PT10M", 600)])
def test_a_limit_is_a_duration(text: str, seconds: float) -> None:
    assert limits.put(text, None, PERSONALIZERS, HELD) == Limits(seconds)


@pytest.mark.parametrize(
    ("text", "code"), [("P61D", "InvalidRequest"), ("PT9M59S", "InvalidRequest"), ("ever", "BadRequest")]
)
def test_a_limit_has_bounds(text: str, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        limits.put(text, None, PERSONALIZERS, HELD)

    assert (caught.value.code, caught.value.target) == (code, "longestRewardWait")


@pytest.mark.parametrize("most", [1, 50, 1000])
def test_a_call_may_have_up_to_a_thousand_actions(most: int) -> None:
    assert limits.put(None, most, Limits(5.0), HELD) == Limits(5.0, most)
    assert limits.put(None, None, Limits(5.0, most), HELD) == Limits(5.0, most)


@pytest.mark.parametrize("most", [-1, 0, 1001, 10**30])
def test_not_so_many_or_none_at_all(most: int) -> None:
    with pytest.raises(ApiError) as caught:
        limits.put(None, most, PERSONALIZERS, HELD)

    assert (caught.value.code, caught.value.target) == ("InvalidRequest", "mostActions")
    assert "from 1 to 1000" in caught.value.message


def test_limits_are_kept_with_the_settings_and_what_a_later_release_adds_to_them() -> None:
    loop = replace(LOOP, limits=Limits(7 * 86_400.0, 200))
    held = orjson.dumps({"limits": {"a_later_one": 1, "longest_reward_wait": 1.0}})

    written = settings.encode(loop, held)

    assert settings.decode(ID, written, LOOP.etag) == loop
    assert orjson.loads(written)["limits"] == {
        "a_later_one": 1,
        "longest_reward_wait": 7 * 86_400.0,
        "most_actions": 200,
        "calls_per_second": 0.0,
        "call_burst": 0,
    }


def test_limits_of_before_there_were_rates_have_none() -> None:
    written = orjson.loads(settings.encode(LOOP))
    del written["limits"]["calls_per_second"], written["limits"]["call_burst"]

    assert settings.decode(ID, orjson.dumps(written), LOOP.etag) == LOOP


def test_a_loop_of_before_has_personalizers_limits() -> None:
    written = orjson.loads(settings.encode(LOOP))
    del written["limits"]

    assert settings.decode(ID, orjson.dumps(written), LOOP.etag) == LOOP


@pytest.mark.parametrize(
    ("lowest", "highest", "ends"),
    [(None, None, (-1.0, 1.0)), (0.0, None, (0.0, 1.0)), (None, 1e6, (-1.0, 1e6)), (-1e6, -5.0, (-1e6, -5.0))],
)
def test_rewards_may_have_another_range(lowest: float | None, highest: float | None, ends: tuple[float, float]) -> None:
    assert limits.put_rewards(lowest, highest, (-1.0, 1.0)) == ends


@pytest.mark.parametrize(
    ("lowest", "highest", "target"),
    [
        (1.0, None, "lowestReward"),
        (None, -1.0, "highestReward"),
        (0.0, 0.0, "highestReward"),
        (-1e6 - 1, None, "lowestReward"),
        (None, float("inf"), "highestReward"),
    ],
)
def test_a_range_of_rewards_has_bounds(lowest: float | None, highest: float | None, target: str) -> None:
    with pytest.raises(ApiError) as caught:
        limits.put_rewards(lowest, highest, (-1.0, 1.0))

    assert (caught.value.code, caught.value.target) == ("InvalidRequest", target)
