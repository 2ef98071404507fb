import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from hypothesis import given
from hypothesis import strategies as st

from shared.counters import Counters
from shared.storage.azure import calls
from shared.storage.azure.calls import TRIES, Calls, pause_after


def answered(status: int | None, retry_after: str | None = None) -> HttpResponseError:
    error = HttpResponseError("refused")
    error.status_code = status
    if retry_after is not None:
        error.response = SimpleNamespace(headers={"Retry-After": retry_after})
    return error


@pytest.mark.parametrize(
    "error",
    [
        *map(answered, (408, 429, 500, 502, 503, 504)),
        answered(None),
        DecodeError("half a page"),
        IncompleteReadError("half a blob"),
        ServiceRequestError("no route"),
        ServiceResponseError("no answer"),
        TimeoutError(),
        ConnectionResetError(),
    ],
    ids=repr,
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    assert pause_after(error, 1, 0.5) == 0.1


@pytest.mark.parametrize(
    "error",
    [
        *map(answered, (304, 400, 401, 403, 404, 409, 412, 416, 501)),
        ClientAuthenticationError("no token"),
        AzureError("a fault of ours"),
        KeyError("a fault of ours"),
    ],
    ids=repr,
)
def test_what_will_not_pass_is_not_tried_again(error: Exception) -> None:
    assert pause_after(error, 1, 0.5) is None


@given(
    st.integers(1, TRIES),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([None, "", "0", "1", "30", "9" * 400, "x"]),
)
def test_pauses_are_bounded_heed_storage_and_differ(tries: int, chance: float, asked: str | None) -> None:
    pause = pause_after(answered(503, asked), tries, chance)
    other = pause_after(answered(503, asked), tries, (chance + 0.5) % 1)
    assert pause is not None
    assert other is not None

    wanted = {"1": 1.0, "30": 2.0, "9" * 400: 2.0}.get(asked or "", 0.05)
    assert wanted <= pause <= 3
    assert abs(pause - other) > 0.01, "instances that failed together come back one by one"


def test_pauses_grow() -> None:
    assert [pause_after(TimeoutError(), tries, 0.5) for tries in (1, 2, 3)] == [0.1, 0.2, 0.4]


class World:
    """Calls over storage that answers what it is told to, on a clock that goes on when somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counters = Counters()
        self.calls = Calls(self.counters.add, lambda: 0.5)
        self.asked = 0
        self.slept: list[float] = []

        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        monkeypatch.setattr(asyncio, "sleep", sleep)

    def answers(self, *told: Exception | str) -> Callable[[], Awaitable[str]]:
        left = list(told)

        async def call() -> str:
            self.asked += 1
            answer = left.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_an_answer_is_passed_on(world: World) -> None:
    assert await world.calls.answer(world.answers("yes"), 1) == "yes"
    assert (world.asked, world.counters.snapshot()) == (1, {})


async def test_two_failures_are_not_noticed_but_counted(world: World) -> None:
    call = world.answers(answered(503), answered(429), "yes")

    assert await world.calls.answer(call, 1) == "yes"
    assert world.slept == [0.1, 0.2]
    assert world.counters.snapshot() == {"storage.busy": 2, "storage.retries": 2}


async def test_the_third_failure_is_told(world: World) -> None:
    last = ServiceResponseError("the third")
    call = world.answers(TimeoutError(), answered(500), last, "yes")

    with pytest.raises(ServiceResponseError) as told:
        await world.calls.answer(call, 1)
    assert told.value is last
    assert world.counters.snapshot() == {"storage.failed": 1, "storage.retries": 2}


async def test_a_refusal_is_told_at_once(world: World) -> None:
    with pytest.raises(ResourceNotFoundError):
        await world.calls.answer(world.answers(missing()), 1)
    assert (world.asked, world.counters.snapshot()) == (1, {})


def missing() -> ResourceNotFoundError:
    error = ResourceNotFoundError("gone")
    error.status_code = 404
    return error


async def test_a_call_that_has_taken_long_is_not_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_PATIENCE", -1.0)
    with pytest.raises(ConnectionResetError):
        await world.calls.answer(world.answers(ConnectionResetError(), "yes"), 1)
    assert world.counters.snapshot() == {"storage.failed": 1}


async def test_a_try_that_takes_too_long_is_ended(world: World) -> None:
    ended = []

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(True)
            raise

    with pytest.raises(TimeoutError):
        await world.calls.answer(hangs, 0.001)
    assert len(ended) == TRIES
