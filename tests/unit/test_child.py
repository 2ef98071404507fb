"""What a process of its own answers, at which priority, what it knows, and that it ends with whoever asked."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from shared import child
from shared.child import IDLE, NICE, ChildError, StarvedError, apart, compute
from tests.integration.served import wait_until

PATIENCE = 60.0


def test_a_piece_of_work_ends_before_the_host_would_end_the_process_that_waits_for_it() -> None:
    hours, minutes, seconds = map(int, json.loads(Path("host.json").read_text())["functionTimeout"].split(":"))
    rest = 3600 * hours + 60 * minutes + seconds - child.PATIENT - child.LASTS
    assert rest >= 60, "to read what it takes, and to write what came of it"


def mirrored_aloud(message: bytes) -> bytes:
    print("libraries print")
    return message[::-1]


def mirrored(message: bytes) -> bytes:
    return message[::-1]


def told(message: bytes) -> bytes:
    return json.dumps([os.getpid(), os.nice(0), sorted(os.environ)]).encode()


def fail(message: bytes) -> bytes:
    raise RuntimeError("the reason")


def end(message: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def hang(message: bytes) -> bytes:
    Path(message.decode()).write_text(str(os.getpid()))
    time.sleep(PATIENCE)
    return b""


async def ask_and_wait(message: bytes) -> None:
    await compute(hang, message, PATIENCE)


def ask(message: bytes) -> bytes:
    """Let a process have a child that hangs."""
    asyncio.run(ask_and_wait(message))
    return b""


def begun(note: Path) -> int:
    """The process that a note names, once there is one."""
    wait_until(lambda: note.exists() and note.read_text() != "", "no process has begun")
    return int(note.read_text())


def lives(pid: int) -> bool:
    """Whether there is such a process, and it is more than its parent's memory of it."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_long_message_is_answered_whatever_else_is_printed() -> None:
    message = bytes(range(256)) * 10_000

    assert await compute(mirrored_aloud, message, PATIENCE) == message[::-1]


async def test_it_stands_back_and_knows_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKLOOP_KEY", "secret")

    pid, nice, known = json.loads(await compute(told, b"", PATIENCE))

    assert pid != os.getpid()
    assert nice == min(os.nice(0) + 10, 19)
    own = {"PATH", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT", "PYTHONPATH", "LC_CTYPE"}
    assert set(known) <= own | {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}
    assert json.loads(await compute(told, b"", PATIENCE, nice=0))[1] == os.nice(0)


def scheduled(message: bytes) -> bytes:
    """How it is scheduled; an idle one first waits to be asked again, where the message says so."""
    if message and os.sched_getscheduler(0) == os.SCHED_IDLE:
        time.sleep(PATIENCE)
    return json.dumps([os.sched_getscheduler(0), os.nice(0)]).encode()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has idle processes")
async def test_an_idle_one_gets_what_nobody_else_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "LEAST", 0.0)  # whatever else the machine does

    assert json.loads(await apart(scheduled, IDLE)(b"")) == [os.SCHED_IDLE, 19]
    assert json.loads(await apart(scheduled)(b"")) == [os.SCHED_OTHER, min(os.nice(0) + NICE, 19)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has idle processes")
async def test_an_idle_one_that_gets_nothing_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "PATIENT", 0.2)
    monkeypatch.setattr(child, "LEAST", 1000.0)  # more than there is

    assert json.loads(await apart(scheduled, IDLE)(b"wait"))[0] == os.SCHED_OTHER
    with pytest.raises(StarvedError):
        await compute(scheduled, b"wait", PATIENCE, IDLE)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has idle processes")
async def test_an_idle_one_that_gets_something_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "PATIENT", 0.01)
    monkeypatch.setattr(child, "LEAST", 0.0)

    assert json.loads(await apart(scheduled, IDLE)(b""))[0] == os.SCHED_IDLE


async def test_what_it_raises_is_told() -> None:
    with pytest.raises(ChildError, match=r"code 1: .*(.|\n)*RuntimeError: the reason$"):
        await compute(fail, b"", PATIENCE)


async def test_its_end_is_no_answer() -> None:
    with pytest.raises(ChildError, match="code -9"):
        await compute(end, b"", PATIENCE)


async def test_it_ends_with_the_time(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        await compute(hang, str(tmp_path / "pid").encode(), 3.0)

    assert not lives(begun(tmp_path / "pid"))


async def test_it_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    task = asyncio.ensure_future(compute(hang, str(tmp_path / "pid").encode(), PATIENCE))
    pid = await asyncio.to_thread(begun, tmp_path / "pid")

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert not lives(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends it at once; elsewhere it ends when it is done")
async def test_it_ends_with_the_process_that_asked(tmp_path: Path) -> None:
    asking = asyncio.ensure_future(compute(ask, str(tmp_path / "pid").encode(), PATIENCE))
    pid = await asyncio.to_thread(begun, tmp_path / "pid")

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    await asyncio.to_thread(wait_until, lambda: not lives(pid), "it is still there")


# -- what the process does, in this one ------------------------------------------------------------------------------


def test_it_answers_on_what_was_standard_output(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "message").write_bytes(b"abc")
    nices = list[int]()
    monkeypatch.setattr(os, "nice", nices.append)
    monkeypatch.setattr(child, "_end_with", lambda parent: None)
    kept = os.dup(1)
    try:
        with (tmp_path / "message").open() as message:
            monkeypatch.setattr(sys, "stdin", message)
            child.main(__name__, "mirrored", "7", "0")
    finally:
        os.dup2(kept, 1)
        os.close(kept)

    assert nices == [7]
    assert capfdbinary.readouterr().out == b"cba"


def test_an_orphan_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: type("Libc", (), {"prctl": lambda *_: 0})())

    child._end_with(os.getppid())
    if sys.platform == "linux":
        with pytest.raises(SystemExit, match="has ended"):
            child._end_with(os.getppid() + 1)
