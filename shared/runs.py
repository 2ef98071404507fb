"""Turns the wish that a timer's work on one loop be done now into one run of it, and a bounded wait for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shared.guard import Guarded
from shared.storage import Unavailable


class Runs:
    """The runs of one process that were asked for by calls.

    Args:
        guarded: counts and logs what fails, as it does for the timers.
    """

    def __init__(self, guarded: Guarded) -> None:
        self._guarded = guarded.run
        self._under_way: dict[tuple[str, str], asyncio.Future[bool | None]] = {}

    async def wait(self, what: str, loop_id: str, run: Callable[[], Awaitable[None]], patience: float) -> bool:
        """Have a loop's run come to its end, or join the wait for the one that is under way.

        Args:
            what: "join" or "train", by which a failure is counted.
            loop_id: the loop.
            run: begins it.
            patience: seconds after which it goes on without anybody who waits.

        Returns:
            Whether it has come to its end.

        Raises:
            Unavailable: it has failed; the log says why.
        """
        key = (what, loop_id)
        held = self._under_way.get(key)
        if held is None:
            held = asyncio.ensure_future(self._guarded(what, f"loop {loop_id}", _ended(run())))
            self._under_way[key] = held
            held.add_done_callback(lambda _: self._under_way.pop(key))
        await asyncio.wait({held}, timeout=patience)
        if not held.done():
            return False
        if held.result() is None:
            raise Unavailable(f"the {what} of loop {loop_id} failed")
        return True


async def _ended(run: Awaitable[None]) -> bool:
    await run
    return True
