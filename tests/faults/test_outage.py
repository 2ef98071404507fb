"""Storage that freezes or ends under load: every call is answered, nothing acknowledged is lost, and it recovers."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import pytest

from localhost.azurite import Azurite
from tests.faults.load import Load, Log, Sent, configure, health, read_joined, serving, wait_until

WAIT = 5.0


def freeze(azurite: Azurite) -> None:
    azurite.pause()
    time.sleep(10)
    azurite.resume()


def restart(azurite: Azurite) -> None:
    azurite.stop()
    time.sleep(5)
    azurite.start()


@pytest.mark.parametrize("fault", [freeze, restart])
def test_an_outage_of_storage_loses_nothing_that_was_acknowledged(
    azurite_on_disk: Azurite, fault: Callable[[Azurite], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(azurite_on_disk.connection_string) as served:
        configure(served, rewardWaitTime="PT5S", modelExportFrequency="PT5S", rewardAggregation="sum")
        load = Load(served.address)
        load.start()
        try:
            load.durable_again(20)
            fault(azurite_on_disk)
            recovered = load.durable_again(20)
            time.sleep(2)
        finally:
            load.stop()
        ended = health(served)["time"]
        wait_until(lambda: (health(served)["joinedThrough"] or 0) > ended, 40)
        wait_until(lambda: health(served)["modelEvents"] > 0, 20)
        state = health(served)
        log = read_joined(azurite_on_disk.connection_string, state["loopId"])

    counters = state["counters"]
    pending = [sent for sent in load.sent if sent.pending]
    answers = Counter("pending" if sent.pending else str(sent.status) for sent in load.sent)
    with capsys.disabled():
        print(
            f"\n{fault.__name__}: {dict(answers)}, slowest answer {load.slowest:.1f} s, durable again after "
            f"{recovered:.1f} s, {counters['journal.retries']} retries, {counters.get('journal.lost', 0)} lost"
        )
    assert load.problems == []
    check_log(load.sent, log)
    assert answers["pending"] > 0, "the fault was not felt"
    assert counters["rank.pending"] == len(pending)
    assert counters["journal.retries"] > 0
    stands = {line["EventId"] for line in log.lines}
    assert sum(sent.id not in stands for sent in pending) <= counters.get("journal.lost", 0)
    assert counters.get("http.500", 0) == 0
    assert state["waitingBytes"] == 0


def check_log(sent: list[Sent], log: Log) -> None:
    """Every durable event stands once, others once at most, each with the rewards that arrived in its window."""
    stands = Counter(line["EventId"] for line in log.lines)
    assert not [one.id for one in sent if one.durable and stands[one.id] != 1]
    assert not [event_id for event_id, times in stands.items() if times > 1]
    assert set(stands) <= {one.id for one in sent}

    observed = {o.e: o for o in reversed(sorted(log.observed, key=lambda o: o.t))}  # the first of each event
    assert not [one.id for one in sent if one.reward == 204 and one.id not in observed]
    values = {one.id: one.value for one in sent}
    in_time = 0
    for line in log.lines:
        event_id = line["EventId"]
        first = observed.get(event_id)
        ranked = datetime.fromisoformat(line["Timestamp"]).timestamp()
        earned = values[event_id] if first is not None and first.t - ranked < WAIT else 0.0
        in_time += earned > 0
        assert -line["_label_cost"] == earned, event_id
    assert in_time > len(log.lines) / 3
