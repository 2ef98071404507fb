"""Configuration calls of every version into settings and policy, and what one call changes of the other's."""

from __future__ import annotations

from typing import Any

import pytest

from shared.access.roles import Access
from shared.contract.versions import ALL, FROM_P1, Version
from shared.log import activity
from shared.loops.loops import DEFAULT
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from tests.unit.edge.inmemory import KEY, InMemory, error, refusal

NOW = 1_700_000_040.5
EDITED = "2023-11-14T22:14:00"
UNSET = "0001-01-01T00:00:00"
ONE, SLOTS = DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT], DEFAULT_ARGUMENTS[Problem.MULTI_SLOT]
V10, P3, V2022 = Version.V1_0, Version.V1_1_P3, Version.V2022


class Loop:
    """A loop, called in a version of the API."""

    def __init__(self, served: InMemory, version: Version = V2022, name: str = DEFAULT) -> None:
        self.served = served
        root = "" if name == DEFAULT else f"loops/{name}/"
        self._root = f"{root}personalizer/" if version is V2022 else f"{root}personalizer/{version.value}/"
        self._query = "?api-version=2022-09-01-preview" if version is V2022 else ""

    def path(self, what: str) -> str:
        return f"{self._root}configurations/{what}{self._query}"

    async def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.served.json("GET", self.path("service"))
        return found

    async def configure(self, **changes: Any) -> dict[str, Any]:
        body = {**await self.settings(), **changes}
        found: dict[str, Any] = await self.served.json("PUT", self.path("service"), body)
        return found

    async def policy(self) -> str:
        found: dict[str, str] = await self.served.json("GET", self.path("policy"))
        return found["arguments"]

    async def use(self, arguments: str) -> dict[str, str]:
        body = {"name": "mine", "arguments": arguments}
        found: dict[str, str] = await self.served.json("PUT", self.path("policy"), body)
        return found


@pytest.fixture
def loop(served: InMemory) -> Loop:
    """The default loop, at a time that stands still."""
    served.now = NOW
    return Loop(served)


# -- service ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ALL)
async def test_settings_are_read_and_changed(served: InMemory, version: Version) -> None:
    served.now = NOW
    loop = Loop(served, version)
    before = await loop.settings()

    changed = await loop.configure(defaultReward=0.5, explorationPercentage=0.1)

    assert before["rewardWaitTime"] == "PT10M"
    dated = {} if version is V10 else {"lastConfigurationEditDate": EDITED}
    assert changed == {**before, "defaultReward": 0.5, "explorationPercentage": 0.1, **dated}
    assert await loop.settings() == changed


async def test_a_new_loop_optimizes_in_fifteen_days(loop: Loop) -> None:
    settings = await loop.settings()

    assert settings["autoOptimizationStartDate"] == "2023-11-29T22:14:00Z"
    assert settings["lastConfigurationEditDate"] == UNSET


@pytest.mark.parametrize("version", ALL)
async def test_an_answer_holds_the_members_of_its_version_alone(served: InMemory, version: Version) -> None:
    await Loop(served).configure(logMirrorSasUri="https://x", isInferenceExplainabilityEnabled=True)

    told = await Loop(served, version).settings()

    assert ("learningMode" in told) == (version is not V10)
    assert ("modelRetrainDays" in told) == ("isInferenceExplainabilityEnabled" in told) == (version is V2022)
    assert (await Loop(served, version).configure()).keys() == told.keys()


async def test_an_older_caller_leaves_what_it_does_not_know(served: InMemory) -> None:
    await Loop(served).configure(learningMode="Apprentice", modelRetrainDays=7, autoOptimizationFrequency="P7D")

    await Loop(served, V10).configure(defaultReward=0.25, learningMode="Online", modelRetrainDays=0)

    held = await Loop(served).settings()
    assert (held["learningMode"], held["modelRetrainDays"], held["autoOptimizationFrequency"]) == (
        "Apprentice",
        7,
        "P7D",
    )
    assert held["defaultReward"] == 0.25


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"defaultReward": 2}, "InvalidServiceConfiguration", 400),
        ({"rewardWaitTime": "P3D"}, "InvalidRewardWaitTime", 400),
        ({"rewardWaitTime": "soon"}, "BadRequest", 400),
        ({"logRetentionDays": 1}, "InvalidLogRetentionDays", 400),
        ({"modelRetrainDays": 91}, "InvalidModelRetrainDays", 400),
        ({"learningMode": "Apprentice", "defaultReward": 1}, "InvalidLearningModeServiceConfiguration", 400),
    ],
)
async def test_a_refused_change_changes_nothing(loop: Loop, changes: dict[str, Any], code: str, status: int) -> None:
    before = await loop.settings()

    assert await refusal(loop.served("PUT", loop.path("service"), {**before, **changes})) == (status, code)

    assert await loop.settings() == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}"])
@pytest.mark.parametrize("what", ["service", "policy"])
async def test_what_is_no_such_body_is_refused(loop: Loop, what: str, body: bytes) -> None:
    code = "InvalidPolicyContract" if (what, body) == ("policy", b"{}") else "BadRequest"

    assert await refusal(loop.served("PUT", loop.path(what), body)) == (400, code)


async def test_a_date_at_the_end_of_the_calendar_does_not_break_the_settings(loop: Loop) -> None:
    body = {**await loop.settings(), "autoOptimizationStartDate": "9999-12-31T23:59:59.999999Z"}

    await loop.served("PUT", loop.path("service"), body)

    assert (await loop.served("GET", loop.path("service"))).status_code == 200


# -- when learning was last changed -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        ({"rewardWaitTime": "PT15S"}, True),
        ({"defaultReward": 0.5}, True),
        ({"rewardAggregation": "sum"}, True),
        ({"explorationPercentage": 0.5}, True),
        ({"learningMode": "Apprentice"}, True),
        ({"modelRetrainDays": 7}, True),
        ({}, False),
        ({"isAutoOptimizationEnabled": False}, False),
        (
            {"rewardWaitTime": "00:10:00", "rewardAggregation": "EARLIEST", "explorationPercentage": 0.20000000298},
            False,
        ),
        ({"modelExportFrequency": "PT1M"}, False),
        ({"logRetentionDays": 30}, False),
        ({"lastConfigurationEditDate": "2020-01-01T00:00:00"}, False),
    ],
)
async def test_the_edit_date_moves_with_what_shapes_learning(loop: Loop, changes: dict[str, Any], moves: bool) -> None:
    assert (await loop.configure(**changes))["lastConfigurationEditDate"] == (EDITED if moves else UNSET)


@pytest.mark.parametrize(
    ("arguments", "moves"),
    [
        (ONE, False),
        (ONE + " --first_only", True),
        (ONE.replace("0.2", "0.3"), True),
        ("--cb_explore_adf --bag 3", True),
    ],
)
async def test_the_edit_date_moves_with_the_policy(loop: Loop, arguments: str, moves: bool) -> None:
    await loop.use(arguments)

    assert (await loop.settings())["lastConfigurationEditDate"] == (EDITED if moves else UNSET)


@pytest.mark.parametrize("epsilon", ["0.123456789", "0.3333333333", "1e-9"])
async def test_settings_that_are_put_back_as_they_were_told_move_nothing(loop: Loop, epsilon: str) -> None:
    await loop.use(f"--cb_explore_adf --epsilon {epsilon}")
    loop.served.now = NOW + 60
    before, arguments = await loop.settings(), await loop.policy()

    assert await loop.configure() == before
    assert await loop.policy() == arguments


# -- policy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ALL)
async def test_the_policy_is_named_by_the_loops_id(served: InMemory, version: Version) -> None:
    held = await served.app.loops.named(DEFAULT)
    loop = Loop(served, version)

    first = await served.json("GET", loop.path("policy"))
    second = await loop.use("  --cb_explore_adf --dsjson --epsilon 0.1 -q ::")
    third = await served.json("GET", loop.path("policy"))
    fourth = await served.json("DELETE", loop.path("policy"))

    assert [told["name"] for told in (first, second, third, fourth)] == [held.id] * 4
    assert first["arguments"] == fourth["arguments"] == ONE
    assert second["arguments"] == third["arguments"] == "  --cb_explore_adf --dsjson --epsilon 0.1 -q ::"


async def test_a_policys_epsilon_is_the_exploration_percentage(loop: Loop) -> None:
    await loop.use("--cb_explore_adf --epsilon 0.35")
    assert (await loop.settings())["explorationPercentage"] == 0.35

    await loop.use("--cb_explore_adf --bag 3")  # has none of that name
    assert (await loop.settings())["explorationPercentage"] == 0.35

    await loop.served.json("DELETE", loop.path("policy"))
    assert (await loop.settings())["explorationPercentage"] == 0.2


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (ONE, ONE.replace("0.2", "0.7")),
        ("--epsilon=0.2 --cb_explore_adf", "--epsilon=0.7 --cb_explore_adf"),
        ("--cb_explore_adf --squarecb", "--cb_explore_adf --squarecb"),
    ],
)
async def test_the_exploration_percentage_stands_in_the_policy(loop: Loop, arguments: str, changed: str) -> None:
    await loop.use(arguments)

    await loop.configure(explorationPercentage=0.7)

    assert await loop.policy() == changed
    held = await loop.served.app.loops.named(DEFAULT)
    assert held.policy.serving(held.configuration.exploration_percentage) in ("--epsilon 0.7", "")


async def test_an_exploration_percentage_is_spelled_at_its_shortest_in_the_policy(loop: Loop) -> None:
    await loop.configure(explorationPercentage=1 / 3)

    assert "--epsilon 0.33333334 " in await loop.policy()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "must name one of"),
        ("--epsilon 0.2", "must name one of"),
        ("--cb_explore_adf --final_regressor model.vw", "--final_regressor"),
        ("--cb_explore_adf --epsilon 2", "--epsilon"),
        # Each of these is harmless; together VW does not take them.
        ("--cb_explore_adf --bag 3 --bag 4", "cannot be both"),
        ("--cb_explore_adf --softmax --squarecb", "Vowpal Wabbit cannot work with them"),
    ],
)
async def test_a_policy_that_vw_must_not_or_cannot_follow_is_refused(loop: Loop, arguments: str, told: str) -> None:
    response = await loop.served("PUT", loop.path("policy"), {"name": "mine", "arguments": arguments})

    found = error(response)
    assert (response.status_code, found["code"], found["target"]) == (400, "InvalidPolicyConfiguration", "arguments")
    assert told in found["message"]
    assert len(found["message"]) <= 500
    assert await loop.policy() == ONE


@pytest.mark.parametrize(
    "body", [{"name": "mine"}, {"name": "x" * 257, "arguments": ONE}, {"name": "a", "arguments": 1}]
)
async def test_a_policy_without_its_members_is_refused(loop: Loop, body: dict[str, Any]) -> None:
    assert await refusal(loop.served("PUT", loop.path("policy"), body)) == (400, "InvalidPolicyContract")


async def test_another_policy_is_news_for_the_trainer(loop: Loop) -> None:
    held = await loop.served.app.loops.named(DEFAULT)
    assert await activity.untrained(loop.served.tables) == []

    await loop.use("--cb_explore_adf --bag 3")

    assert [note.loop_id for note in await activity.untrained(loop.served.tables)] == [held.id]


# -- multi-slot -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", FROM_P1)
async def test_a_loop_becomes_multi_slot_once_it_does_not_optimize_itself(served: InMemory, version: Version) -> None:
    loop = Loop(served, version)
    too_early = served("PUT", loop.path("policy"), {"name": "slots", "arguments": SLOTS})
    assert await refusal(too_early) == (403, "ProblemTypeIncompatibleWithAutoOptimization")
    assert await loop.policy() == ONE

    await loop.configure(isAutoOptimizationEnabled=False)
    await loop.use(SLOTS)

    again = served("PUT", loop.path("service"), {**await loop.settings(), "isAutoOptimizationEnabled": True})
    assert await refusal(again) == (403, "ProblemTypeIncompatibleWithAutoOptimization")
    assert (await loop.configure(defaultReward=0.5))["isAutoOptimizationEnabled"] is False
    assert (await Loop(served, V10).configure(defaultReward=0.25))["defaultReward"] == 0.25


async def test_the_default_policy_is_that_of_the_loops_problem(loop: Loop) -> None:
    await loop.served.use_slots()
    await loop.use("--ccb_explore_adf --bag 3")

    told = await loop.served.json("DELETE", loop.path("policy"))

    assert told["arguments"] == await loop.policy() == SLOTS


async def test_one_loops_settings_are_not_anothers(served: InMemory) -> None:
    await served.make_loop("news")
    default, news = Loop(served), Loop(served, name="news")
    before = await default.settings(), await default.policy()

    await news.configure(defaultReward=0.5, rewardWaitTime="PT15S", learningMode="Online")
    await news.use("--cb_explore_adf --bag 3")

    assert (await default.settings(), await default.policy()) == before
    assert (await news.policy(), (await news.settings())["defaultReward"]) == ("--cb_explore_adf --bag 3", 0.5)


async def test_a_reader_is_not_given_leave_to_write_the_mirror(served: InMemory) -> None:
    class Tokens:
        async def roles(self, token: str) -> frozenset[str]:
            return frozenset(token.split())

    served.app.access = Access(KEY, Tokens())
    loop = Loop(served)
    await loop.configure(logMirrorSasUri="https://x?sig=secret")

    for names, told in (("Rankloop.Read", False), ("Rankloop.Read Rankloop.Manage", True), ("Rankloop.Owner", True)):
        headers = {"ocp_apim_subscription_key": "", "authorization": f"Bearer {names}"}
        assert ("logMirrorSasUri" in await served.json("GET", loop.path("service"), **headers)) is told
