"""Storage that freezes or ends under load: every call is answered, nothing acknowledged is lost, and it recovers."""

import time
from collections import Counter
from collections.abc import Callable

import pytest

from localhost.azurite import Azurite
from tests.faults.load import Load, check_log, configure, health, read_joined, serving, wait_until


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
    azurite_on_disk: Azurite, fault: Callable[[Azurite], None], tell: Callable[[str], None]
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
    tell(
        f"{fault.__name__}: {dict(answers)}, slowest answer {load.slowest:.1f} s, durable again after "
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
