"""A decision, taken again from what the log holds of it; and what the story makes of its observations."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import orjson
import pytest

from shared.contract.requests import multi_slot_rank_request, rank_request
from shared.contract.stories import ToldReplay
from shared.counters import Counters
from shared.learning import pointer
from shared.learning.model import ServingModel
from shared.learning.rebuild import Gone, Rebuilder
from shared.learning.registry import Version
from shared.log import entry as entries
from shared.log import inbox
from shared.log.buckets import Waits
from shared.log.entry import Entry
from shared.log.erasure import NOTHING
from shared.log.history import History, Ranking
from shared.log.join import Rules, decode_events, join
from shared.log.joined import Window
from shared.log.records import MODES, Observed, decode_ranked
from shared.loops import policy
from shared.loops.holdback import Holdback
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import Decision, log_line
from shared.ranking.features import is_plain
from shared.ranking.model_cache import Held, ModelCache
from shared.ranking.multi_slot import decide_slots
from shared.ranking.rank import decide
from shared.ranking.replay import Replay, replay
from shared.ranking.story import joinable, tell
from shared.storage import Unavailable
from shared.storage.memory import MemoryBlobs
from tests.unit.ranking.trained import LOOP as ID
from tests.unit.ranking.trained import QUICK_SLOTS, SINGLE, trained_model

T0 = 1_700_000_040
RULES = Rules(600.0, 0.0, "sum", (-1.0, 1.0))
WAITS = Waits(((0, 600.0),))
ODD = ["nul\0 id", "é🎉", 'q"\\u0000', "x" * 256, "\0"]
BODY: dict[str, Any] = {
    "eventId": "e\0/é",
    "actions": [{"id": name, "features": [{"topic": f"t{n}"}]} for n, name in enumerate(ODD)],
    "contextFeatures": [{"time": "t1"}],
}
SLOTS: list[dict[str, Any]] = [
    {"id": "top\0", "baselineAction": ODD[0]},
    {"id": "side", "baselineAction": ODD[1], "excludedActions": [ODD[2], ODD[3], ODD[4]]},
]


def loop(arguments: str = SINGLE, mode: str = "Online") -> Loop:
    return Loop(ID, ServiceConfiguration(learning_mode=mode), policy.read(arguments), WAITS)


async def published(arguments: str, epsilon: float) -> tuple[MemoryBlobs, Held]:
    """A loop's storage with a model, and that model as it serves."""
    blobs, data = MemoryBlobs(), trained_model(300, arguments)
    await pointer.install(blobs, ID, data, arguments, "", 5, 1.0)
    of = replace(loop(arguments), configuration=ServiceConfiguration(exploration_percentage=epsilon))
    return blobs, await ModelCache(blobs, Counters()).get(of)


def decided(body: dict[str, Any], held: Held, of: Loop, subject: str | None = None) -> Decision:
    raw = orjson.dumps(body)
    if "slots" in body:
        return decide_slots(multi_slot_rank_request(raw), is_plain(raw), of, held, ActionCache(), subject)
    return decide(rank_request(raw), is_plain(raw), of, held, ActionCache(), subject)


def logged(
    decision: Decision, observed: Sequence[Observed] = (), deferred: bool = False, subject: str | None = "ab" * 16
) -> tuple[Entry, Entry]:
    """The event while it is pending, and when it is joined."""
    line = log_line(decision, T0 + 0.5, deferred, subject)
    (joined,) = join(decode_events([line]), observed, [], RULES).lines
    return entries.of_ranked(decode_ranked(line)), entries.of_line(joined)


async def again(blobs: MemoryBlobs, entry: Entry) -> Replay:
    return await replay(Rebuilder(blobs, Counters()), ID, entry, 0, NOTHING)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("epsilon", [0.0, 0.2, 0.123456789, 1.0])
@pytest.mark.parametrize("excluded", [[], [ODD[0]], [ODD[1], ODD[4], "unknown"], ODD[:4]])
async def test_a_decision_is_taken_again_byte_for_byte(mode: str, epsilon: float, excluded: list[str]) -> None:
    blobs, held = await published(SINGLE, epsilon)
    for n in range(10):
        decision = decided({**BODY, "eventId": f"e{n}\0", "excludedActions": excluded}, held, loop(mode=mode))
        for entry in logged(decision):
            found = await again(blobs, entry)
            assert found == Replay(decision.body, True)
            assert found.sha256 == hashlib.sha256(decision.body).hexdigest()
            assert entries.asked(entry).ids == [name for name in ODD if name not in excluded]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("slots", [SLOTS, SLOTS[:1]])
async def test_slots_are_decided_again_byte_for_byte(mode: str, slots: list[dict[str, Any]]) -> None:
    blobs, held = await published(QUICK_SLOTS, 0.4)
    for n in range(10):
        decision = decided({**BODY, "eventId": f"e{n}", "slots": slots}, held, loop(QUICK_SLOTS, mode))
        without = decided({**BODY, "eventId": f"e{n}", "slots": slots}, Held(), loop(QUICK_SLOTS, mode))
        for of in (decision, without):
            for entry in logged(of):
                assert await again(blobs, entry) == Replay(of.body, True)


async def test_without_a_model_nothing_is_needed() -> None:
    decision = decided(BODY, Held(), loop())

    for entry in logged(decision):
        assert await again(MemoryBlobs(), entry) == Replay(decision.body, True)


@pytest.mark.parametrize("slots", [None, SLOTS])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("excluded", [[], [ODD[0], ODD[3]]])
async def test_what_was_held_back_is_so_again_and_needs_no_model(
    mode: str, slots: list[dict[str, Any]] | None, excluded: list[str]
) -> None:
    arguments = SINGLE if slots is None else QUICK_SLOTS
    blobs, held = await published(arguments, 0.2)
    of = replace(loop(arguments, mode), holdback=Holdback(0.5, 7.25))
    sides = set()
    for n in range(20):
        body = {**BODY, "eventId": f"e{n}", **({"excludedActions": excluded} if slots is None else {"slots": slots})}
        decision = decided(body, held, of, "ab" * 16 if n < 5 else None)
        for entry in logged(decision, subject="ab" * 16 if n < 5 else None):
            sides.add(entry.holdback)
            storage = MemoryBlobs() if entry.holdback else blobs
            assert await again(storage, entry) == Replay(decision.body, True)
            assert not (await again(blobs, msgspec.structs.replace(entry, holdback=not entry.holdback))).same
    assert sides == ({False, True} if mode == "Online" else {False})


async def test_the_share_decides_who_is_held_back_and_the_log_names_it() -> None:
    _, entry = logged(decided(BODY, Held(), replace(loop(), holdback=Holdback(0.5, 7.25))), subject=None)
    assert entry.share == 0.5
    other = msgspec.structs.replace(entry, share=0.0)

    assert (await again(MemoryBlobs(), other)).same is not entry.holdback


async def test_what_is_not_what_the_log_holds_is_told() -> None:
    blobs, held = await published(SINGLE, 0.2)
    _, entry = logged(decided(BODY, held, loop()))
    assert not (await again(blobs, msgspec.structs.replace(entry, epsilon=0.3))).same
    assert not (await again(blobs, msgspec.structs.replace(entry, order=entry.order[::-1]))).same
    _, slots = logged(decided({**BODY, "slots": SLOTS}, Held(), loop(QUICK_SLOTS)))
    assert slots.outcomes is not None
    assert not (await again(blobs, msgspec.structs.replace(slots, event_id="f", outcomes=slots.outcomes[::-1]))).same


async def test_what_cannot_be_taken_again_is_told() -> None:
    blobs, held = await published(SINGLE, 0.2)
    _, entry = logged(decided(BODY, held, loop()))
    with pytest.raises(Gone, match="did not write down the exploration"):
        await again(blobs, msgspec.structs.replace(entry, epsilon=None))
    with pytest.raises(Gone, match="no record of model version"):
        await again(MemoryBlobs(), entry)
    other = MemoryBlobs()
    made = await pointer.install(other, ID, b"no model", SINGLE, "", 5, 1.0)
    unusable = entries.of_line(orjson.dumps({"EventId": "e", "c": {}, "VWState": {"m": made.version}, "epsilon": 0.2}))
    with pytest.raises(Gone, match="cannot be used by this release"):
        await again(other, unusable)


async def test_storage_that_is_down_is_no_reason_to_give_up() -> None:
    class Down(MemoryBlobs):
        async def get(self, path: str) -> None:
            raise Unavailable("down")

    _, held = await published(SINGLE, 0.2)
    _, entry = logged(decided(BODY, held, loop()))

    with pytest.raises(Unavailable):
        await again(Down(), entry)


async def test_one_model_at_a_time_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, held = await published(SINGLE, 0.2)
    _, entry = logged(decided(BODY, held, loop()))
    in_use, most = 0, 0

    class Counted(Rebuilder):
        async def model(self, *args: Any) -> tuple[Version, bytes]:
            nonlocal in_use, most
            in_use += 1
            most = max(most, in_use)
            await asyncio.sleep(0)
            return await super().model(*args)

    class Closing(ServingModel):
        def close(self) -> None:
            nonlocal in_use
            super().close()
            in_use -= 1

    monkeypatch.setattr("shared.ranking.replay.ServingModel", Closing)
    rebuilder = Counted(blobs, Counters())

    answers = await asyncio.gather(*(replay(rebuilder, ID, entry, 0, NOTHING) for _ in range(8)))

    assert (most, in_use) == (1, 0)
    assert {answer.same for answer in answers} == {True}


async def test_the_exploration_that_is_logged_is_that_of_the_model_that_serves() -> None:
    """Not what was asked for, where a newer version does not load."""
    blobs, _ = await published(SINGLE, 0.2)
    cache = ModelCache(blobs, Counters())
    of = replace(loop(), configuration=ServiceConfiguration(exploration_percentage=0.2))
    before = await cache.get(of)
    await pointer.install(blobs, ID, b"no model", SINGLE, "", 10, 2.0)
    await cache.renew(ID)

    changed = await cache.get(replace(of, configuration=ServiceConfiguration(exploration_percentage=0.7)))

    assert changed is before
    assert changed.exploration == 0.2


# -- the story -------------------------------------------------------------------------------------------------------


def story(decision: Decision, *observed: Observed, deferred: bool = False, wait: float = 600.0) -> Any:
    """What is told of a joined event."""
    _, entry = logged(decision, observed, deferred)
    ranking = Ranking(entry, T0 + 0.5, Window(T0, T0 + 60))
    return tell(History([ranking], list(observed)), ranking, ID, Waits(((0, wait),)), "v", ToldReplay())


@pytest.mark.parametrize("wait", [5.0, 600.0, 6000.0])
def test_what_counted_is_told_by_the_log_whatever_the_wait_is_by_now(wait: float) -> None:
    key = "e\0/é"
    observed = [
        Observed(key, T0 - 300.0, "r", 0.1),
        Observed(key, T0 - 10.0, "r", 0.2, q="one"),
        Observed(key, T0 + 1.0, "r", 0.3, q="one"),
        Observed(key, T0 + 2.0, "r", 0.0, [("top\0", 1.0)]),
        Observed(key, T0 + 3.0, "a"),
        Observed(key, T0 + 599.0, "r", 0.4),
        Observed(key, T0 + 700.0, "r", 0.5),
    ]

    told = story(decided(BODY, Held(), loop()), *observed, wait=wait)

    assert [(o.value, o.counted, o.repeated) for o in told.observations if o.slot is msgspec.UNSET] == [
        (0.1, False, False),
        (0.2, True, False),
        (0.3, False, True),
        (msgspec.UNSET, True, False),
        (0.4, True, False),
        (0.5, False, False),
    ]
    assert [o.counted for o in told.observations if o.slot is not msgspec.UNSET] == [False]
    assert [told.observations[n].arrived for n in (0, 1, 4, 5, 6)] == ["early", "inTime", "inTime", "inTime", "late"]
    assert told.activated == told.observations[4].time
    assert [(reward.aggregated, reward.learned) for reward in told.rewards] == [(pytest.approx(0.6),) * 2]
    assert (told.state, told.pending_until, told.ranked.subject) == ("joined", None, True)


def told(history: History, ranking: Ranking, wait: float = 600.0) -> list[tuple[object, ...]]:
    event = tell(history, ranking, ID, Waits(((0, wait),)), None, ToldReplay())
    return [(o.value, o.arrived, o.counted, o.repeated) for o in event.observations]


@pytest.mark.parametrize("joined", [False, True])
def test_a_request_id_that_came_before_the_event_repeats_nothing(joined: bool) -> None:
    key = "e\0/é"
    observed = [Observed(key, T0 + t, "r", v, q="one") for t, v in ((-300.0, 0.1), (1.0, 0.2), (2.0, 0.3))]
    pending, held = logged(decided(BODY, Held(), loop()), observed)
    ranking = Ranking(held, T0 + 0.5, Window(T0, T0 + 60)) if joined else Ranking(pending, T0 + 0.5)

    assert len(held.observed) == 1
    assert told(History([ranking], observed), ranking) == [
        (0.1, "early", False, False),
        (0.2, "inTime", True, False),
        (0.3, "inTime", False, True),
    ]


@pytest.mark.parametrize("wait", [5.0, 600.0, 6000.0])
def test_of_a_flood_as_many_are_told_to_count_as_the_join_takes(wait: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MOST", 3)
    key = "e\0/é"
    observed = [Observed(key, T0 + 1.0 + n, "r", n / 10) for n in range(5)] + [Observed(key, T0 + 9.0, "a")]
    pending, held = logged(decided(BODY, Held(), loop()), observed)
    of_log = Ranking(held, T0 + 0.5, Window(T0, T0 + 60))
    of_journal = Ranking(pending, T0 + 0.5)

    assert len(held.observed) == 4
    wanted = [True, True, True, False, False, True]
    assert [row[2] for row in told(History([of_log], observed), of_log, wait)] == wanted
    if wait >= 600.0:
        assert [row[2] for row in told(History([of_journal], observed), of_journal, wait)] == wanted


def test_what_counted_is_not_told_where_observations_were_not_read() -> None:
    key = "e\0/é"
    observed = [Observed(key, T0 + t, "r", 0.1 * t) for t in (1.0, 2.0, 700.0)]
    unread = [Observed(key, T0 + 0.6, "r", 0.0), Observed(key, T0 - 200.0, "r", 0.0)]
    _, held = logged(decided(BODY, Held(), loop()), [*unread, *observed])
    ranking = Ranking(held, T0 + 0.5, Window(T0, T0 + 60))

    for since in (T0 + 0.9, T0 - 119.4):
        cut = told(History([ranking], observed, observed_since=since), ranking)
        assert [row[1:3] for row in cut] == [("inTime", msgspec.UNSET)] * 2 + [("late", msgspec.UNSET)]
    whole = told(History([ranking], [unread[0], *observed], observed_since=T0 - 119.5), ranking)
    assert [row[2] for row in whole] == [True, True, True, False]


def test_rewards_of_slots_are_told_by_slot() -> None:
    key = "e\0/é"
    observed = [
        Observed(key, T0 + 1.0, "r", 0.0, [("side", 0.5), ("unknown", 1.0), ("top\0", 5.0)]),
        Observed(key, T0 + 2.0, "r", 0.7),
        Observed(key, T0 + 3.0, "a"),
    ]

    told = story(decided({**BODY, "slots": SLOTS}, Held(), loop(QUICK_SLOTS)), *observed, deferred=True)

    assert [(o.slot, o.value, o.counted) for o in told.observations] == [
        ("side", 0.5, True),
        ("unknown", 1.0, False),
        ("top\0", 5.0, True),
        (msgspec.UNSET, 0.7, False),
        (msgspec.UNSET, msgspec.UNSET, True),
    ]
    assert {reward.slot: (reward.aggregated, reward.learned) for reward in told.rewards}["top\0"] == (5.0, 1.0)
    assert told.ranked.deferred
    assert [slot.baseline for slot in told.decision.slots] == ODD[:2]


def test_an_event_can_be_joined_when_its_last_bucket_is_closed() -> None:
    assert joinable(T0 + 4.9, WAITS) == T0 + 600 + 5 + 90
    assert joinable(T0 + 5.0, WAITS) == T0 + 605 + 5 + 90


def test_a_version_tells_how_much_it_takes() -> None:
    assert Version("", "", "", 0, 0, 0.0, 0.0, 0.0, learned=3, skipped=2, refused=1).lines == 6
