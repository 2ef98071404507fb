"""Turns one call of storage into the end of a run: the process killed before it, its answer lost, or in conflict."""

from __future__ import annotations

from shared.storage import Conflict, Unavailable

EFFECTS = ("killed", "reply lost", "repeated")


class Killed(BaseException):
    """The process is gone: nothing in it may catch this."""


class CutOff:
    """A gate before storage (`tests.journalled.Gate`) that lets all calls pass but one.

    Args:
        n: which one, from 0 on.
        effect: one of `EFFECTS`. Killed before it; its reply lost; or a write that the SDK has repeated, and that is
            told to be in conflict with itself, for which only writes of a loop's blobs count.

    Attributes:
        reached: whether there was such a call.
    """

    def __init__(self, n: int, effect: str) -> None:
        assert effect in EFFECTS
        self.reached = False
        self._left = n
        self._effect = effect

    async def __call__(self, name: str, done: bool) -> None:
        """Pass a call, before it is made or after it is answered."""
        effect = self._effect
        if done is (effect == "killed") or (effect == "repeated" and not name.startswith("put loops/")):
            return
        self._left -= 1
        if self._left == -1:
            self.reached = True
            raise {"reply lost": Unavailable, "repeated": Conflict}.get(effect, Killed)("cut off")
