"""A new model from a large log, made by four processes of which one is killed, on Azurite."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.news import UNIFORM, lines, value
from localhost.azurite import ROOT, Azurite, die_with_parent
from shared import jobs
from shared.contract.evaluations import Status
from shared.learning import registry, renewal
from shared.log import activity, joined
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.log.joined import Window
from shared.loops import policy
from shared.loops.loops import DEFAULT
from shared.loops.settings import Loop
from shared.storage.azure import AzureStorage
from tests.integration.retrain_worker import app_of

ARGUMENTS = "--cb_explore_adf --epsilon 0.2 --cb_type mtr -q :: --cubic :Fj"
WORKERS, WINDOWS, EVENTS = 4, 8, 1500
PATIENCE = 300.0


def start(setting: str, folder: Path, dies: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.integration.retrain_worker", setting, str(folder), str(dies)]
    return subprocess.Popen(command, cwd=ROOT, preexec_fn=die_with_parent())


def end(workers: list[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize("merged", [True, False], ids=["merged", "in a row"])
async def test_four_workers_make_a_new_model_though_one_is_killed(
    azurite_on_disk: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged: bool
) -> None:
    monkeypatch.setattr(renewal, "PIECE_BYTES", 1)  # each window is a piece
    setting, folder = azurite_on_disk.connection_string, tmp_path / "queue"
    folder.mkdir()
    async with AzureStorage(setting) as storage:
        app = app_of(storage, folder)
        arguments = ARGUMENTS if merged else ARGUMENTS + " --l2 0.000001"

        def with_policy(loop: Loop) -> Loop:
            configuration = replace(loop.configuration, model_retrain_days=0)
            return replace(loop, configuration=configuration, policy=policy.read(arguments))

        loop = await app.loops.change(DEFAULT, with_policy)
        begin = int(time.time()) // 3600 * 3600 - 7200
        for n in range(WINDOWS):
            window = Window(begin + 60 * n, begin + 60 * n + 60)
            assert await joined.write(storage.blobs, loop.id, window, joined.DSJSON, lines(EVENTS, n, window.start))
        await checkpoints.save(storage.blobs, loop.id, Checkpoint(watermark=begin + 60 * WINDOWS), None)
        await activity.note_joined(storage.tables, loop.id)
        assert await app.train_due() == 1
        straight, _ = await registry.current(storage.blobs, loop.id)
        assert straight is not None
        await app.loops.change(
            DEFAULT, lambda loop: replace(loop, configuration=replace(loop.configuration, exploration_percentage=0.3))
        )
        assert await app.train_due() == 1

        workers: list[subprocess.Popen[bytes]] = []
        try:
            workers.append(start(setting, folder, 1))
            workers[0].wait(PATIENCE)  # or the others might have done all before it has begun
            workers += [start(setting, folder, 0) for _ in range(WORKERS - 1)]
            deadline, given_back = time.monotonic() + PATIENCE, 0
            while True:
                (job_id,) = await jobs.newest(storage.blobs, loop.id)
                record = await jobs.get(storage.blobs, loop.id, job_id)
                assert record is not None
                current, _ = await registry.current(storage.blobs, loop.id)
                assert current is not None
                if current.version == record.version:
                    break
                assert time.monotonic() < deadline, record
                assert [worker.poll() for worker in workers[1:]] == [None] * (WORKERS - 1)
                if workers[0].poll() is not None:  # as the queue does when nobody says that it was done
                    for left in (folder / str(workers[0].pid)).iterdir():
                        left.rename(folder / "inbox" / left.name)
                        given_back += 1
                await asyncio.sleep(0.2)
        finally:
            end(workers)

        model = await registry.load(storage.blobs, loop.id, current)
        before = await registry.load(storage.blobs, loop.id, straight)
        await activity.note_joined(storage.tables, loop.id)
        assert await app.train_due() == 1
        assert await storage.blobs.names(f"loops/{loop.id}/pieces/") == [], "also where its end was cut off"
    assert (workers[0].returncode, given_back) == (-9, 1)
    assert (record.status, record.pieces, record.done, record.error) == (Status.SUCCEEDED, WINDOWS, WINDOWS, None)
    assert (current.events, current.learned, record.events) == (WINDOWS * EVENTS,) * 3, "each event once"
    assert (len(current.shards) == WINDOWS) is merged
    if merged:
        assert value(before) > UNIFORM + 0.03
        assert value(model) > value(before) - 0.02, "as good as one run, but for the noise"
    else:
        assert model == before, "the same bytes as one run"
