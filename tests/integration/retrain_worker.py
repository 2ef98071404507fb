"""Turns messages in a folder into work done by an app of its own process, as the Functions host would hand them out.

`python -m tests.integration.retrain_worker <storage> <folder> <n>` takes a message by moving it to its own folder, and
deletes it once it is done. It ends itself by SIGKILL in the middle of its nth piece; 0 for never.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from pathlib import Path

from shared.app import App
from shared.config import Config
from shared.learning import piecework
from shared.storage.azure import AzureStorage


class FolderQueue:
    """`Queues` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._inbox = folder / "inbox"
        self._inbox.mkdir(exist_ok=True)

    async def send(self, queue: str, message: bytes, delay: float = 0.0) -> None:
        """See `Queues.send`."""
        name = uuid.uuid4().hex
        written = self._inbox.with_name(name)
        written.write_bytes(message)
        written.rename(self._inbox / name)  # seen whole or not at all


def app_of(storage: AzureStorage, folder: Path) -> App:
    """An app over that storage, whose work lies in the folder."""
    settings = Config(storage="azurite", key="k")
    return App(settings, storage.tables, storage.blobs, queues=FolderQueue(folder))


async def work(setting: str, folder: Path, dies: int) -> None:
    """Take messages for ever."""
    mine, pieces = folder / str(os.getpid()), 0
    mine.mkdir()
    in_child = piecework.in_child

    async def apart(task: bytes) -> bytes:
        nonlocal pieces
        pieces += 1
        done = await in_child(task)
        if pieces == dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    async with AzureStorage(setting) as storage:
        app = app_of(storage, folder)
        app.trainer._renewer._pieces._apart = apart
        while True:
            for waiting in sorted((folder / "inbox").iterdir()):
                try:
                    taken = waiting.rename(mine / waiting.name)
                except FileNotFoundError:
                    continue  # another one was quicker
                await app.work(taken.read_bytes())
                taken.unlink()
                break
            else:
                await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
