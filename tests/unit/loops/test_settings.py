"""A loop and its blob: what is written is read, an older release's blob is read, a damaged one is told."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from shared.log.buckets import Waits
from shared.loops import keys, policy, settings
from shared.loops.holdback import NOBODY, Holdback
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.storage import StorageError

ID = "0123456789abcdef" * 2
LOOP = Loop(
    ID,
    ServiceConfiguration(15.0, -0.5, "sum", 0.35, 60.0, 7, (-5.0, 5.0), True, "https://x", "Apprentice", False, 864e2),
    policy.read("--ccb_explore_adf --bag 3"),
    Waits(((0, 600.0), (1_700_000_000, 15.0))),
    (keys.digest("one"), keys.digest("two")),
    1_690_000_000.25,
    1_700_000_000.0,
    '"7"',
    holdback=Holdback(0.05, 1_700_000_000.125),
    apprentice=1_700_000_001.5,
)  # fmt: skip
FORMER = (
    b'{"configuration":{"reward_wait_time":15.0,"default_reward":-0.5,"reward_aggregation":"sum",'
    b'"exploration_percentage":0.35,"model_export_frequency":15.0,"log_retention_days":-1,"reward_range":[-1.0,1.0]},'
    b'"waits":[[0,600.0],[1700000000,15.0]],"format":1}'
)
"""As the release before this one wrote it: there was one policy, and no keys."""


def test_what_is_written_is_read() -> None:
    assert settings.decode(ID, settings.encode(LOOP), '"7"') == LOOP


def test_a_loop_lies_under_its_id() -> None:
    assert settings.path(ID) == f"loops/{ID}/settings.json"


def test_settings_of_the_former_release_are_read() -> None:
    loop = settings.decode(ID, FORMER, '"1"')

    assert loop.configuration == ServiceConfiguration(15.0, -0.5, "sum", 0.35, 15.0, -1)
    assert loop.waits == Waits(((0, 600.0), (1_700_000_000, 15.0)))
    # Its exploration percentage was all there was to a policy then.
    assert loop.policy == policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT].replace("0.2", "0.35"))
    assert (loop.keys, loop.created, loop.edited, loop.etag) == ((), 0.0, None, '"1"')
    assert (loop.holdback, loop.apprentice) == (NOBODY, None)
    assert settings.decode(ID, settings.encode(loop), '"1"') == loop


def test_members_of_a_later_release_are_passed_over() -> None:
    written = {**orjson.loads(settings.encode(LOOP)), "colour": {"red": 1}}
    written["configuration"]["shape"] = "round"

    assert settings.decode(ID, orjson.dumps(written), '"7"') == LOOP
    kept = orjson.loads(settings.encode(LOOP, orjson.dumps(written)))
    assert (kept["colour"], kept["configuration"]["shape"]) == ({"red": 1}, "round")


def test_the_key_itself_is_nowhere_in_the_blob() -> None:
    key = keys.new()

    written = settings.encode(replace(LOOP, keys=(keys.digest(key),)))

    assert key.encode() not in written
    assert keys.digest(key).hex().encode() in written


def written(**members: object) -> bytes:
    return orjson.dumps({**orjson.loads(settings.encode(LOOP)), **members})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        FORMER[:-1],
        b"{}",
        written(format=2),
        written(waits=[]),
        written(waits=None),
        written(waits=[[0, "15"]]),
        written(configuration={"reward_wait_time": "PT10M"}),
        written(configuration=None),
        written(keys=["00" * 32] * 3),
        written(keys=["no hex"]),
        written(keys=[1]),
        written(policy="--cb_explore_adf --final_regressor model"),
        written(policy=""),
        written(edited="yesterday"),
    ],
    ids=lambda data: data[-40:].decode(errors="replace"),
)
def test_a_damaged_blob_and_one_of_a_later_release_are_told(data: bytes) -> None:
    with pytest.raises(StorageError) as caught:
        settings.decode(ID, data, '"7"')

    assert ID in str(caught.value)


def test_the_join_sees_its_own_part() -> None:
    rules = LOOP.rules()

    assert (rules.loop_id, rules.waits, rules.default_reward) == (ID, LOOP.waits, -0.5)
    assert (rules.aggregation, rules.reward_range) == ("sum", (-5.0, 5.0))


def test_its_policy_says_what_a_loop_decides_for() -> None:
    assert LOOP.multi_slot
    assert not replace(LOOP, policy=policy.read("--cb_explore_adf")).multi_slot
