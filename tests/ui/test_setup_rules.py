"""The page's forms allow and refuse what the API does, and know which settings make a new model."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from playwright.sync_api import Page

from shared.contract.configurations import ServiceConfigurationV2022
from shared.contract.decoding import decode
from shared.contract.errors import ApiError
from shared.contract.versions import Version
from shared.edge.limits import LimitsContract
from shared.loops import holdback, limits, policy, service
from shared.loops.holdback import NOBODY
from shared.loops.limits import PERSONALIZERS
from shared.loops.options import _ALLOWED as ALLOWED
from shared.loops.policy import DEFAULT_ARGUMENTS
from shared.loops.service import ServiceConfiguration
from tests.ui.conftest import OpenPage

HELD = ServiceConfiguration(auto_optimization_start=1_790_000_000.0)
LIMITS = {"longestRewardWait": "P2D", "mostActions": 50, "lowestReward": -1.0, "highestReward": 1.0}

SERVICE: list[dict[str, Any]] = [
    *(
        {"rewardWaitTime": text}
        for text in ("5 s", "4.9 s", "2 d", "49 h", "0.5 min", "-5 s", " s", "1.5 d", "2880 min")
    ),
    *({"defaultReward": text} for text in ("-1", "1", "1.01", "-1.5", "0.3", "", "1e-3")),
    *({"rewardAggregation": text} for text in ("earliest", "average", "median", "sum", "min", "max")),
    *({"explorationPercentage": text} for text in ("0", "100", "100.1", "-1", "12.5")),
    *({"modelExportFrequency": text} for text in ("5 s", "4 s", "30 d", "31 d", "15 min")),
    *({"modelRetrainDays": text} for text in ("0", "90", "91", "-1", "1.5")),
    *({"logRetentionDays": text} for text in ("-1", "2", "1", "0", "-2", "2147483647", "2147483648", "30")),
    {"rewardWaitTime": "2 d", "logRetentionDays": "3"},
    {"rewardWaitTime": "2 d", "logRetentionDays": "2"},
    {"rewardWaitTime": "25 h", "logRetentionDays": "3"},
    {"logRetentionDays": "-1", "modelRetrainDays": "100000"},
    {"logRetentionDays": "10", "modelRetrainDays": "11"},
    {"logRetentionDays": "10", "modelRetrainDays": "10"},
    {"logMirrorSasUri": "u" * 4096},
    {"logMirrorSasUri": "u" * 4097},
    *({"isAutoOptimizationEnabled": on} for on in (True, False)),
    {"isInferenceExplainabilityEnabled": True},
    *({"autoOptimizationFrequency": text} for text in ("1 d", "23 h", "365 d", "366 d")),
    {"autoOptimizationStartDate": "2027-01-31T12:00:00"},
]
"""What is typed in the form of the settings."""
OPTIONS = [
    *DEFAULT_ARGUMENTS.values(),
    "--cb_explore_adf --squarecb --gamma_scale 100 -q::",
    "--cb_explore_adf --json --quiet -l=0.5 --epsilon=0.1",
    "--cb_explore_adf --epsilon 1.1",
    "--cb_explore_adf --epsilon",
    "--cb_explore_adf --epsilon .5 --epsilon .5",
    "--cb_explore_adf --epsilon .5 --epsilon .6",
    "--cb_explore_adf --epsilon=",
    "--cb_explore_adf --squarecb=1",
    "--cb_explore_adf --data /etc/passwd",
    "--cb_explore_adf -f model",
    "--cb_explore_adf -b 22",
    "--cb_explore_adf -b 23",
    "--cb_explore_adf --bag 20 -q ab -q cd -q ef",
    "--cb_explore_adf --bag 20 -q ab -q cd -q ef -q gh",
    "--cb_explore_adf --quadratic abc",
    "--cb_explore_adf --cubic a::",
    "--cb_explore_adf --interactions abcdef",
    "--cb_explore_adf --interactions abcdefg",
    "--cb_explore_adf --cb_type mtr2",
    "--cb_explore_adf --marginal i --hash all",
    "--cb_explore_adf --constructor 1",
    "--cb_explore_adf --ccb_explore_adf",
    "--epsilon 0.2",
    "",
    "cb_explore_adf",
    "--cb_explore_adf " + "-q ab " * 32,
    "--cb_explore_adf " + "-q ab " * 33,
]


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page("/#/setup?section=jobs")


def judged(page: Page, fields: str, held: dict[str, Any], drafts: list[dict[str, Any]], context: Any) -> list[Any]:
    """What the page makes of what is typed: [{values, wrong, changes}] with names of what changes."""
    found: list[Any] = page.evaluate(
        """async ([fields, held, drafts, context]) => {
          const rules = await import("/page/views/setup-rules.js");
          const found = {
            ...rules,
            service: rules.SERVICE.flatMap((group) => group.fields),
            ...(await import("/page/views/setup-limits.js")),
            ...(await import("/page/views/setup-holdback.js")),
          }[fields];
          return drafts.map((draft) => {
            const { values, wrong, changes } = rules.judge(found, held, draft, context);
            return { values, wrong, changes: changes.map(({ field }) => [field.name, Boolean(field.retrains)]) };
          });
        }""",
        [fields, held, drafts, context],
    )
    return found


def refused(act: Any) -> str:
    """Of what the API refuses, the member that it names; empty where it takes it."""
    try:
        act()
    except ApiError as error:
        return error.target or "?"
    return ""


def put(values: dict[str, Any]) -> ServiceConfiguration:
    return service.put(decode(orjson.dumps(values), ServiceConfigurationV2022), HELD, multi_slot=False)


def test_settings_are_refused_that_the_api_refuses_and_no_others(page: Page) -> None:
    held = msgspec.to_builtins(HELD.to_api(Version.V2022, None))

    found = judged(page, "service", held, SERVICE, {"limits": LIMITS, "multiSlot": False})

    refusals = 0
    for draft, one in zip(SERVICE, found, strict=True):
        assert set(one["wrong"]) | {name for name, _ in one["changes"]} <= set(held) | set(draft), draft
        told = refused(lambda one=one: put(one["values"]))
        unread = [name for name in one["wrong"] if one["values"].get(name) == held.get(name)]
        assert bool(one["wrong"]) == bool(told or unread), (draft, one, told)
        assert not told or told in one["wrong"], (draft, one, told)
        refusals += bool(told)
    assert refusals > 10


def test_it_is_known_what_makes_a_new_model(page: Page) -> None:
    held = msgspec.to_builtins(HELD.to_api(Version.V2022, None))

    seen = set()
    for one in judged(page, "service", held, SERVICE, {"limits": LIMITS, "multiSlot": False}):
        if not one["wrong"] and one["changes"]:
            makes_new = not put(one["values"]).learns_like(HELD)
            assert makes_new == any(retrains for _, retrains in one["changes"]), one
            seen |= {name for name, _ in one["changes"]}
    assert seen >= set(held) - {"learningMode", "lastConfigurationEditDate"}


def test_a_reset_gives_what_a_new_loop_has(page: Page) -> None:
    defaults = page.evaluate("async () => (await import('/page/views/setup-rules.js')).DEFAULTS")

    held = msgspec.to_builtins(ServiceConfiguration().to_api(Version.V2022, None))
    assert put(defaults) == HELD
    assert set(defaults) == set(held) - {"autoOptimizationStartDate", "lastConfigurationEditDate"}


def test_limits_are_refused_that_the_api_refuses_and_no_others(page: Page) -> None:
    drafts: list[dict[str, Any]] = [
        *({"mostActions": text} for text in ("1", "0", "1000", "1001")),
        *({"longestRewardWait": text} for text in ("60 d", "61 d", "9 min", "10 min", "4 s")),
        *({"lowestReward": text} for text in ("-1e6", "-1000001", "0.9", "1", "2")),
        *({"highestReward": text} for text in ("1000000", "1000001", "-1", "-2")),
        {"lowestReward": "5", "highestReward": "20"},
    ]

    found = judged(page, "LIMITS", LIMITS, drafts, {"wait": "PT10M"})

    def put_limits(values: dict[str, Any]) -> None:
        given = decode(orjson.dumps(values), LimitsContract)
        limits.put(given.longest_reward_wait, given.most_actions, PERSONALIZERS, HELD)
        limits.put_rewards(given.lowest_reward, given.highest_reward, HELD.reward_range)

    for draft, one in zip(drafts, found, strict=True):
        told = refused(lambda one=one: put_limits(one["values"]))
        assert bool(one["wrong"]) == bool(told), (draft, one, told)
    assert [bool(one["wrong"]) for one in found] == [False, True] * 2 + [False, True, True, False, True] + [
        *(False, True, False, True, True),
        *(False, True, True, True),
        False,
    ]


def test_a_holdback_is_refused_that_the_api_refuses_and_no_other(page: Page) -> None:
    drafts = [{"share": text} for text in ("0", "50", "50.1", "-1", "5")]

    found = judged(page, "HOLDBACK", {"share": 0.1}, drafts, {})

    told = [refused(lambda one=one: holdback.put(one["values"]["share"], NOBODY, 0.0)) for one in found]
    assert [bool(one["wrong"]) for one in found] == [bool(one) for one in told] == [False, False, True, True, False]


def test_arguments_are_refused_that_the_api_refuses_and_no_others(page: Page) -> None:
    found = page.evaluate(
        "async (all) => { const { read } = await import('/page/views/setup-options.js'); return all.map(read); }",
        OPTIONS,
    )

    for arguments, one in zip(OPTIONS, found, strict=True):
        told = refused(lambda arguments=arguments: policy.read(arguments))
        assert bool(one["wrong"]) == bool(told), (arguments, one, told)
        if not told:
            learned = policy.read(arguments)
            spelled = " ".join(f"--{option['name']} {option['value']}".rstrip() for option in one["options"])
            assert spelled == learned.training


def test_every_option_that_is_allowed_is_explained_and_no_other(page: Page) -> None:
    explained = page.evaluate(
        """async () => Object.entries((await import("/page/views/setup-options.js")).OPTIONS)
          .map(([name, [meaning, check]]) => [name, meaning, check === null])"""
    )

    assert {name: flag for name, _, flag in explained} == {name: check is None for name, check in ALLOWED.items()}
    assert all(meaning.endswith(".") for _, meaning, _ in explained)
