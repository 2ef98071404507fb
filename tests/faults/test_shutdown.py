"""An app that is ended under load, with storage slow at that moment: what it answered is in the journal."""

import signal
import threading
import time

import pytest

from localhost.azurite import Azurite
from tests.faults.load import Load, health, read_journal, serving


@pytest.mark.parametrize("slow", [False, True], ids=["storage answers", "storage is slow"])
def test_an_app_that_is_ended_drains_what_it_answered(
    azurite_on_disk: Azurite, slow: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(azurite_on_disk.connection_string) as served:
        loop_id = health(served)["loopId"]
        load = Load(served.address, callers=12)
        load.start()
        try:
            load.durable_again(20)
            if slow:
                azurite_on_disk.pause()
                wake = threading.Timer(4, azurite_on_disk.resume)
                wake.start()
                time.sleep(2)
            load.ending = True
            began = time.monotonic()
            code = served.stop(signal.SIGTERM)
            took = time.monotonic() - began
            if slow:
                wake.join()
        finally:
            load.stop()

    ranked, observed = read_journal(azurite_on_disk.connection_string, loop_id)
    answered = [sent for sent in load.sent if sent.status == 201]
    pending = sum(sent.pending for sent in answered)
    with capsys.disabled():
        print(f"\nended after {took:.1f} s; of {len(answered)} answered events {pending} were pending")
    assert load.problems == []
    assert code == 0
    assert pending > 0 or not slow, "storage was not slow enough to be felt"
    assert not [sent.id for sent in answered if ranked[sent.id] != 1]
    assert not [sent.id for sent in load.sent if sent.reward == 204 and observed[sent.id] < 1]
