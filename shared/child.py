"""Turns a function and a message into its answer, computed by a process of its own, at a lower priority.

For what computes for seconds, and would hold up the calls that this process answers; and for what may end its process.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

NICE: Final = 10
"""How much a child stands back: beside a busy process of priority 0 it gets a tenth of a core."""
IDLE: Final = 20
"""Further than `nice` goes: it gets what nobody else wants, and gives it back at once when somebody does."""
PATIENT: Final = 10.0
"""Seconds after which an idle one is looked at, whether it gets anything."""
LEAST: Final = 0.05
"""Share of a core that it must have had then."""
LASTS: Final = 500.0
"""Seconds that a piece of work may take: after ten minutes (host.json) the host ends this process and says nothing."""
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""What it is told besides: it is one of several processes, and no more than one core is meant for it."""
_PR_SET_PDEATHSIG = 1
_TOLD = 2000
"""Characters of what a child wrote to its standard error that are told when it fails: the last ones."""


Apart = Callable[[bytes], Awaitable[bytes]]
"""Does the heavy part of a piece of work, message to answer, beside the process that asks."""


class ChildError(Exception):
    """The process ended without an answer; the text is its exit code and the last that it said."""


class StarvedError(Exception):
    """An idle process got next to nothing, since others want all there is."""


def apart(function: Callable[[bytes], bytes], nice: int = NICE) -> Apart:
    """The function as something that a process of its own does, see `compute`, within the time of a piece of work.

    Args:
        function: see `compute`.
        nice: the same. Where `IDLE` comes to nothing it is begun again at `NICE`: a piece must come to its end.
    """

    async def done(task: bytes) -> bytes:
        try:
            return await compute(function, task, LASTS, nice)
        except StarvedError:
            return await compute(function, task, LASTS)

    return done


async def compute(function: Callable[[bytes], bytes], message: bytes, patience: float, nice: int = NICE) -> bytes:
    """What the function makes of the message, in a new process; that takes its start, 0.1 s and the function's imports.

    The process knows nothing of the environment but where programs and modules are: no settings, no secrets. It ends
    with the time, with the caller's cancellation, and with this process.

    Args:
        function: at the top level of a module, by whose name the process imports it.
        message: its argument.
        patience: seconds that the whole may take.
        nice: how much it stands back, from 0 on, or `IDLE`.

    Raises:
        ChildError: the function raises something, or ends its process.
        TimeoutError: it takes too long.
        StarvedError: it is an idle one, and gets next to nothing.
    """
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | _ONE_THREAD
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "shared.child", function.__module__, function.__qualname__, str(nice), str(os.getpid())),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    answering = asyncio.ensure_future(process.communicate(message))
    try:
        async with asyncio.timeout(patience):
            if nice >= IDLE:
                await asyncio.wait([answering], timeout=PATIENT)
                if process.returncode is None and cpu_seconds(process.pid) < LEAST * PATIENT:
                    raise StarvedError
            answer, said = await answering
    finally:
        answering.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ChildError(f"code {process.returncode}: {said.decode(errors='replace').strip()[-_TOLD:]}")
    return answer


def cpu_seconds(pid: int) -> float:
    """Seconds of one core that a process has had, all its threads together, where Linux counts them; else endless."""
    if sys.platform != "linux":
        return float("inf")
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def main(module: str, function: str, nice: str, parent: str) -> None:
    """Answer standard input on standard output, as the process that was made for it."""
    _stand_back(int(nice))
    _end_with(int(parent))
    answers = os.dup(1)
    os.dup2(2, 1)  # libraries print to standard output, too
    answer = getattr(importlib.import_module(module), function)(sys.stdin.buffer.read())
    with os.fdopen(answers, "wb") as output:
        output.write(answer)


def _stand_back(nice: int) -> None:
    # A process of low priority still makes one that wakes up wait for its turn; an idle one is put aside at once.
    os.nice(min(nice, IDLE - 1))
    if sys.platform == "linux" and nice >= IDLE:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with(parent: int) -> None:
    """Have the system end this process when its parent ends, where the system can: nobody waits for it any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the process that asked has ended")


if __name__ == "__main__":  # pragma: no cover - in its own process
    main(*sys.argv[1:])
