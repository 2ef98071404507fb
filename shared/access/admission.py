"""Turns how many calls are under way, whose, and how late and busy the event loop is, into whether one may enter.

It is asked before anything is done for a call, its key unchecked and its body unread: a call that is refused must cost
next to nothing, or many of them would leave no time for those that are accepted (docs/adr/0021).
"""

from __future__ import annotations

PERIOD = 0.025
"""Seconds from one reading of the event loop's lateness to the next."""
LATE = 0.01
"""Seconds of lateness from which on the processor is what calls wait for. Where they wait for storage alone the event
loop is on time, and turning calls away would help nobody."""
BUSY = 0.9
"""Part of the time that the event loop computes from which on the same holds: calls wait for many of its turns, and
those need not be long."""
SHARE = 0.2
"""Part of the deadline in which calls are to be answered where the processor is short."""
MOST = 960
"""Ranks, rewards and activations under way at most, over all loops: when storage hangs each waits out its deadline."""
LEAST = 64
"""The same where the processor is as short as can be."""
OTHERS = 64
"""Places of their own for all other calls: health and settings must answer just when there is too much to do."""
MAX_BYTES = 64 * 1024 * 1024
"""Bytes of bodies that calls under way may have, of either kind."""
_MEMORY = 0.5
"""Seconds for which a reading of how much is done counts."""


class Places:
    """Places, and bytes of bodies, that loops share.

    A loop may hold as many as are left free, and in any case an equal part, half at most. So one that could use more
    than there are gets half, and there is always something left for one that comes new (a dynamic threshold with
    alpha = 1: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998).

    Args:
        limit: how many places there are; may be changed at any time.
        max_bytes: how many bytes the bodies may have together.

    Attributes:
        limit: see above.
        done: places that were given back, ever.
    """

    def __init__(self, limit: float, max_bytes: int) -> None:
        self.limit = limit
        self.done = 0
        self._max_bytes = max_bytes
        self._held: dict[str, tuple[int, int]] = {}
        self._taken = 0
        self._bytes = 0

    @property
    def taken(self) -> int:
        """Places that are held, over all loops."""
        return self._taken

    def take(self, loop: str, size: int) -> bool:
        """Take a place for a call of so many bytes; False, and nothing is taken, where the loop may have none.

        A call without a body needs none of the bytes, however many are taken.
        """
        count, held = self._held.get(loop, (0, 0))
        if count >= self.limit - self._taken and not self._is_owed(loop, count):
            return False
        if size and held + size > self._max_bytes - self._bytes:
            return False
        self._held[loop] = (count + 1, held + size)
        self._taken += 1
        self._bytes += size
        return True

    def _is_owed(self, loop: str, count: int) -> bool:
        """Whether a loop holds less than an equal part: it need not wait until others keep to a lowered limit."""
        sharers = len(self._held) + (loop not in self._held)
        return count + 1 <= self.limit / max(sharers, 2)

    def free(self, loop: str, size: int) -> None:
        """Give back what was taken for a call."""
        count, held = self._held.pop(loop)
        if count > 1:
            self._held[loop] = (count - 1, held - size)
        self._taken -= 1
        self._bytes -= size
        self.done += 1


class Admission:
    """The places of one process.

    Args:
        deadline: seconds in which calls are to be answered.

    Attributes:
        events: for ranks, rewards and activations, as many as the machine can do in time.
        others: for all other calls.
        asked_outside: whether the host asks before it has read a call, so that the call itself need not.
        watched: whether somebody reads how late the event loop runs.
    """

    def __init__(self, deadline: float) -> None:
        self.events = Places(MOST, MAX_BYTES)
        self.others = Places(OTHERS, MAX_BYTES)
        self.asked_outside = False
        self.watched = False
        self._target = SHARE * deadline
        self._rate = 0.0
        self._done = 0

    @property
    def idle(self) -> bool:
        """Whether no call is under way."""
        return not self.events.taken and not self.others.taken

    def adapt(self, late: float, busy: float) -> None:
        """Learn that the event loop was late by so many seconds, a period after it was last asked, and how busy.

        As many calls as are done in the time in which each is to be answered may be under way together (Little's law);
        there are twice as many places, since one loop gets half of them. The limit goes there by a tenth up and a fifth
        down at a time, since the event loop may have been late just once. While it is on time it goes up.

        Args:
            late: seconds.
            busy: part of the time, since it was last asked, that the event loop's thread has computed.
        """
        events, elapsed = self.events, PERIOD + late
        self._rate += ((events.done - self._done) / elapsed - self._rate) * min(1.0, elapsed / _MEMORY)
        self._done = events.done
        wanted = 2 * self._rate * self._target if late > LATE or busy > BUSY else MOST
        if wanted > events.limit or events.taken > events.limit / 4:  # else it is not they that make it late
            events.limit = min(max(wanted, 0.8 * events.limit, LEAST), 1.1 * events.limit, MOST)
