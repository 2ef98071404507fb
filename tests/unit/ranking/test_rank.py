"""A rank call's decision as a function of its inputs (contract 5.3, 5.4)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared.contract.errors import ApiError
from shared.contract.requests import rank_request
from shared.learning import registry
from shared.learning.lesson import learn
from shared.learning.model import Learner, ServingModel
from shared.learning.registry import Version
from shared.log.buckets import Waits
from shared.log.join import Rules, decode_events, join
from shared.log.records import APPRENTICE, LOGGING_ONLY, MODES, ONLINE, Ranked, decode_ranked
from shared.loops import policy
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import Decision, log_line
from shared.ranking.features import is_plain
from shared.ranking.model_cache import Held
from shared.ranking.rank import decide
from tests.unit.ranking.trained import LOOP as ID
from tests.unit.ranking.trained import SINGLE, job, trained_model

LOOP = Loop(ID, ServiceConfiguration(), policy.read(SINGLE), Waits(((0, 600.0),)))


def actions(count: int) -> list[dict[str, Any]]:
    return [{"id": f"a{n}", "features": [{"topic": f"t{n}"}]} for n in range(count)]


def decided(body: dict[str, Any], held: Held | None = None, loop: Loop = LOOP) -> Decision:
    raw = orjson.dumps(body)
    return decide(rank_request(raw), is_plain(raw), loop, held or Held(), ActionCache())


def answer(body: dict[str, Any], held: Held | None = None, loop: Loop = LOOP) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(decided(body, held, loop).body)
    return found


def in_mode(mode: str) -> Loop:
    return replace(LOOP, configuration=ServiceConfiguration(learning_mode=mode))


def logged(decision: Decision) -> Ranked:
    return decode_ranked(log_line(decision, 1.0, False))


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    data = trained_model(300)
    version = Version(registry.version_name(5, data), "", SINGLE, 5, 300, 0.0, 0.0, 0.0)
    model = ServingModel(data, "--epsilon 0.2")
    yield Held(version, model, LOOP.policy, 0.2)
    model.close()


def test_the_answer_is_written_as_the_service_wrote_it() -> None:
    body = decided({"actions": actions(2), "eventId": "e1", "excludedActions": ["a1"]}).body

    assert body == (
        b'{"ranking":[{"id":"a0","probability":1.0},{"id":"a1","probability":0.0}],"eventId":"e1","rewardActionId":"a0"}'
    )


def test_probabilities_are_spelled_as_32_bit_floats(held: Held) -> None:
    body = decided({"actions": actions(3), "eventId": "e1"}, held).body

    assert sorted(re.findall(rb'"probability":([^}]+)', body)) == [b"0.06666667", b"0.06666667", b"0.8666667"]


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_without_a_model_every_action_is_as_probable(count: int) -> None:
    ranking = answer({"actions": actions(count), "eventId": "e1"})["ranking"]

    assert {entry["id"] for entry in ranking} == {f"a{n}" for n in range(count)}
    assert [entry["probability"] for entry in ranking] == [pytest.approx(1 / count)] * count


def test_a_single_action_has_probability_one(held: Held) -> None:
    assert answer({"actions": actions(1)}, held)["ranking"] == [{"id": "a0", "probability": 1.0}]


def test_the_same_event_id_gives_the_same_answer_and_others_explore(held: Held) -> None:
    body = {"actions": actions(4), "contextFeatures": [{"time": "t1"}]}

    chosen: Counter[str] = Counter()
    for n in range(400):
        first = decided({**body, "eventId": f"e{n}"}, held)
        assert first == decided({**body, "eventId": f"e{n}"}, held)
        chosen[orjson.loads(first.body)["rewardActionId"]] += 1

    assert chosen.most_common(1)[0][1] == pytest.approx(400 * 0.85, abs=25)
    assert set(chosen) == {"a0", "a1", "a2", "a3"}


@pytest.mark.parametrize(
    "excluded",
    [[0], [3], [5], [0, 1], [4, 5], [0, 5], [0, 2, 4], [1, 3, 5], [0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [0, 1, 3, 4, 5]],
)
def test_excluded_actions_keep_their_place_with_probability_zero(held: Held, excluded: list[int]) -> None:
    sent = actions(6)
    body = {"actions": sent, "excludedActions": [f"a{n}" for n in excluded] + ["unknown"]}
    left = [action for n, action in enumerate(sent) if n not in excluded]
    for n in range(30):
        found = answer({**body, "eventId": f"e{n}"}, held)
        without = answer({"actions": left, "eventId": f"e{n}"}, held)

        places = {place: entry for place, entry in enumerate(found["ranking"]) if place in excluded}
        assert places == {place: {"id": f"a{place}", "probability": 0.0} for place in excluded}
        # The others are ranked as if the excluded ones had not been sent, and fill the remaining places in order.
        assert [entry for place, entry in enumerate(found["ranking"]) if place not in excluded] == without["ranking"]
        assert found["rewardActionId"] == without["rewardActionId"] == without["ranking"][0]["id"]


@pytest.mark.parametrize("excluded", [["nobody"], [], None, ["A0"], ["a0 "]])
def test_unknown_excluded_ids_do_no_harm(excluded: list[str] | None) -> None:
    body: dict[str, Any] = {"actions": actions(3), "eventId": "e1"}

    assert answer({**body, "excludedActions": excluded}) == answer(body)


@pytest.mark.parametrize(
    ("body", "code", "target", "problem"),
    [
        ({"actions": actions(2), "excludedActions": ["a1", "a0"]}, "InvalidRankRequest", "excludedActions",
         "no action"),
        ({"actions": actions(1) * 2}, "InvalidRankRequest", "actions", "'a0' stands more than once"),
        ({"actions": [*actions(2), None]}, "InvalidRankRequest", "actions[2]", "is null"),
        ({"actions": [*actions(2), 1]}, "BadRequest", "actions[2]", "must be an object"),
        ({"actions": [*actions(2), {"id": "x", "features": []}]}, "InvalidRankRequest", "actions[2].features",
         "at least"),
        ({"actions": actions(1), "contextFeatures": [None]}, "InvalidRankRequest", "contextFeatures[0]", "null"),
        ({"actions": actions(1), "contextFeatures": {}}, "BadRequest", "contextFeatures", "must be an array"),
        ({"actions": actions(1), "contextFeatures": [{"l": ["x"]}]}, "InvalidRankRequest", "contextFeatures[0].l[0]",
         "feature arrays hold numbers"),
        ({"actions": actions(1), "contextFeatures": [{f"f{n}": n for n in range(8000)}]}, "InvalidRankRequest",
         "actions", "units of work"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_refused(body: dict[str, Any], code: str, target: str, problem: str) -> None:
    with pytest.raises(ApiError) as caught:
        decided(body)

    assert (caught.value.code, caught.value.target) == (code, target)
    assert problem in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        {"actions": [{"id": "a", "features": [{}]}]},
        {"actions": actions(2), "contextFeatures": None},
        {"actions": actions(2), "contextFeatures": []},
        {"actions": actions(2), "contextFeatures": [{}]},
        {"actions": [{"Id": "a", "FEATURES": [{"x": 1}], "extra": 1}, *actions(1)]},
        {"actions": actions(2), "contextFeatures": [{"diet": "{'vegan', 'vegetarian'}", "_ignored": ["x"]}]},
        {"actions": actions(2), "contextFeatures": [{"été": 1, "o": {"p": [1, 2]}}]},
    ],
)
def test_what_the_contract_allows_is_decided(held: Held, body: dict[str, Any]) -> None:
    found = answer(body, held)

    assert sum(entry["probability"] for entry in found["ranking"]) == pytest.approx(1)


def test_an_event_id_is_made_where_none_is_sent() -> None:
    ids = {answer({"actions": actions(2), "eventId": event_id})["eventId"] for event_id in (None, None)}

    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}-01234", event_id) for event_id in ids)


@pytest.mark.parametrize("event_id", ["e/1", "é🎉", '"\\\0', "a%2Fb", "x" * 256])
def test_the_callers_event_id_is_answered(event_id: str) -> None:
    assert answer({"actions": actions(1), "eventId": event_id})["eventId"] == event_id


def test_the_logged_part_holds_what_was_ranked(held: Held) -> None:
    assert held.version
    decision = decided(
        {"actions": actions(4), "contextFeatures": [{"time": "t1"}], "eventId": "e7", "excludedActions": ["a0"]}, held
    )
    line, found = orjson.loads(decision.dsjson), orjson.loads(decision.body)
    rankable = ["a1", "a2", "a3"]

    assert line["Version"] == "1"
    assert line["EventId"] == "e7"
    assert line["VWState"] == {"m": held.version.version}
    assert line["excluded"] == [[0, "a0"]]
    assert [action["_tag"] for action in line["c"]["_multi"]] == rankable
    assert line["c"]["FromUrl"] == [{"time": "t1"}]
    # Both list the chosen one first; the log by its place among the ranked, counted from 1.
    assert [rankable[n - 1] for n in line["a"]] == [entry["id"] for entry in found["ranking"]][1:]
    assert line["p"] == [entry["probability"] for entry in found["ranking"]][1:]
    ranked = logged(decision)
    assert (rankable[ranked.a], ranked.s, ranked.m) == (found["rewardActionId"], None, ONLINE)
    assert ranked.p == pytest.approx(line["p"][0])


def test_without_a_model_the_log_says_so_and_leaves_excluded_out() -> None:
    line = orjson.loads(decided({"actions": actions(2)}).dsjson)

    assert line["VWState"] == {"m": "N/A"}
    assert "excluded" not in line


def test_the_budget_is_that_of_the_model_that_scores(held: Held) -> None:
    """Whose policy need not be the loop's any more."""
    body = {"actions": actions(50), "contextFeatures": [{f"f{n}": n + 1 for n in range(1200)}]}
    plain = replace(LOOP, policy=policy.read("--cb_explore_adf"))

    assert answer(body, loop=plain)
    with pytest.raises(ApiError, match="units of work"):
        decided(body, held, plain)
    with pytest.raises(ApiError, match="units of work"):
        decided(body)


# -- learning modes (contract 5.4) -----------------------------------------------------------------------------------


BODY = {"actions": actions(4), "contextFeatures": [{"time": "t1"}], "excludedActions": ["a0"]}


def test_an_apprentice_answers_in_the_order_of_the_request_and_logs_what_it_would_have_drawn(held: Held) -> None:
    drawn: Counter[int] = Counter()
    for n in range(300):
        body = {**BODY, "eventId": f"e{n}"}
        apprentice, online = decided(body, held, in_mode(APPRENTICE)), decided(body, held)
        shown, ranking = orjson.loads(apprentice.body), orjson.loads(online.body)["ranking"]

        assert [entry["id"] for entry in shown["ranking"]] == ["a0", "a1", "a2", "a3"]
        assert shown["rewardActionId"] == "a1"  # the first that may be chosen
        assert sorted(shown["ranking"], key=str) == sorted(ranking, key=str)  # each with its own probability
        answered = online.choice.replace(
            b'"i":%b' % orjson.dumps(orjson.loads(online.body)["rewardActionId"]), b'"i":"a1"'
        )
        assert (apprentice.choice, apprentice.dsjson, apprentice.mode) == (answered, online.dsjson, "Apprentice")
        drawn[logged(apprentice).a] += 1

    assert set(drawn) == {0, 1, 2}
    assert logged(apprentice).m == APPRENTICE


def test_logging_only_answers_and_logs_the_first_that_may_be_chosen_for_certain(held: Held) -> None:
    for n in range(20):
        decision = decided({**BODY, "eventId": f"e{n}"}, held, in_mode(LOGGING_ONLY))
        found, line, ranked = orjson.loads(decision.body), orjson.loads(decision.dsjson), logged(decision)

        assert [(entry["id"], entry["probability"]) for entry in found["ranking"]] == [
            ("a0", 0.0), ("a1", 1.0), ("a2", 0.0), ("a3", 0.0),
        ]  # fmt: skip
        assert found["rewardActionId"] == "a1"
        assert (line["a"], line["p"]) == ([1, 2, 3], [1.0, 0.0, 0.0])
        assert (ranked.a, ranked.p, ranked.m) == (0, 1.0, LOGGING_ONLY)


# -- what the log says is learned ------------------------------------------------------------------------------------


HOSTILE = ('"_skipLearn', 'x"_skipLearn', "_skipLearn", '{"_skipLearn":true,"mode":"Apprentice","_label_cost":-1')


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("mode", MODES)
def test_no_text_of_a_caller_keeps_an_event_from_being_learned(text: str, mode: str) -> None:
    body = {
        "contextFeatures": [{text: True, "v": text, "n": {text: True}}],
        "actions": [{"id": text, "features": [{text: 1}]}, *actions(3)],
        "excludedActions": ["a2"],
        "eventId": text,
    }
    line = log_line(decided(body, loop=in_mode(mode)), 1.0, False)
    (joined,) = join(decode_events([line]), [], [], Rules(5, 0.5, "earliest", (-1.0, 1.0))).lines
    learner = Learner(SINGLE, None)
    lessons = {own: learn(learner, [joined], job(SINGLE, own)) for own in MODES}
    learner.close()

    assert {own for own, lesson in lessons.items() if lesson.events} == {mode}
    assert [lesson.skipped + lesson.events for lesson in lessons.values()] == [1, 1, 1]
