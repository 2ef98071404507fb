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
from collections.abc import Callable
from typing import Final

NICE: Final = 10
"""How much a child stands back: beside a busy process of priority 0 it gets a tenth of a core."""
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")
_PR_SET_PDEATHSIG = 1
_TOLD = 2000
"""Characters of what a child wrote to its standard error that are told when it fails: the last ones."""


class ChildError(Exception):
    """The process ended without an answer; the text is its exit code and the last that it said."""


async def compute(function: Callable[[bytes], bytes], message: bytes, patience: float, nice: int = NICE) -> bytes:
    """What the function makes of the message, in a new process; that takes its start, 0.1 s and the function's imports.

    The process knows nothing of the environment but where programs and modules are: no settings, no secrets. It ends
    with the time, with the caller's cancellation, and with this process.

    Args:
        function: at the top level of a module, by whose name the process imports it.
        message: its argument.
        patience: seconds that the whole may take.
        nice: how much it stands back, from 0 on.

    Raises:
        ChildError: the function raises something, or ends its process.
        TimeoutError: it takes too long.
    """
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "shared.child", function.__module__, function.__qualname__, str(nice), str(os.getpid())),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(patience):
            answer, said = await process.communicate(message)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ChildError(f"code {process.returncode}: {said.decode(errors='replace').strip()[-_TOLD:]}")
    return answer


def main(module: str, function: str, nice: str, parent: str) -> None:
    """Answer standard input on standard output, as the process that was made for it."""
    os.nice(int(nice))
    _end_with(int(parent))
    answers = os.dup(1)
    os.dup2(2, 1)  # libraries print to standard output, too
    answer = getattr(importlib.import_module(module), function)(sys.stdin.buffer.read())
    with os.fdopen(answers, "wb") as output:
        output.write(answer)


def _end_with(parent: int) -> None:
    """Have the system end this process when its parent ends, where the system can: nobody waits for it any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the process that asked has ended")


if __name__ == "__main__":  # pragma: no cover - in its own process
    main(*sys.argv[1:])
