"""One storage account in memory, any number of instances of the deployment on it, and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared.clock import StorageClock
from shared.contract.errors import ApiError
from shared.loops import policy
from shared.loops.deployment import DEPLOYMENT
from shared.loops.loops import FIRST_OPTIMIZATION, Loops
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.storage import Blob, Unavailable
from shared.storage.memory import MemoryBlobs, MemoryTables

NOW = 1_700_000_003.5


class Blobs(MemoryBlobs):
    """Blobs that can be out of reach, and tell of each write before it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.down: set[str] = set()
        self.reads: list[str] = []
        self.before_put: Callable[[str], Awaitable[None]] | None = None

    def _reach(self, path: str) -> None:
        self.reads.append(path)
        if any(path.startswith(prefix) for prefix in self.down):
            raise Unavailable("down")

    async def get(self, path: str) -> Blob | None:
        self._reach(path)
        await asyncio.sleep(0)
        return await super().get(path)

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        self._reach(path)
        await asyncio.sleep(0)
        return await super().get_changed(path, etag)

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        await asyncio.sleep(0)
        if self.before_put is not None:
            hook, self.before_put = self.before_put, None
            await hook(path)
        return await super().put(path, data, etag, metadata)


class Deployment:
    """The account and its instances.

    Attributes:
        now: the storage's clock, which instances share.
        steady: the clock by which they look at storage.
    """

    def __init__(self) -> None:
        self.now = NOW
        self.steady = 1000.0
        self.tables, self.blobs = MemoryTables(lambda: self.now), Blobs()

    def instance(self) -> Loops:
        """Another instance, which has seen nothing yet."""
        probe = {"PartitionKey": "c", "RowKey": "p"}
        return Loops(
            self.tables, self.blobs, StorageClock(lambda: self.tables.put("clock", dict(probe)), lambda: self.now)
        )

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.steady += seconds


def to(**changes: object) -> Callable[[Loop], Loop]:
    """The change of some service settings."""
    return lambda loop: replace(loop, configuration=replace(loop.configuration, **changes))  # type: ignore[arg-type]


def learning(arguments: str) -> Callable[[Loop], Loop]:
    """The change to another policy."""
    return lambda loop: replace(loop, policy=policy.read(arguments))


def fresh() -> ServiceConfiguration:
    """The settings of a loop that is made now."""
    return ServiceConfiguration(auto_optimization_start=1_700_000_003.0 + FIRST_OPTIMIZATION)


async def stored(deployment: Deployment, path: str = DEPLOYMENT) -> Any:
    """The JSON in a blob."""
    blob = await deployment.blobs.get(path)
    assert blob
    return orjson.loads(blob.data)


async def code(call: Awaitable[object]) -> str:
    """The code that a call is refused with."""
    with pytest.raises(ApiError) as caught:
        await call
    return caught.value.code


async def rewrite(deployment: Deployment, path: str, **members: object) -> None:
    blob = await deployment.blobs.get(path)
    assert blob
    await deployment.blobs.put(path, orjson.dumps({**orjson.loads(blob.data), **members}), blob.etag)
