"""Turns stretches of the log into one message for a process of its own, and the message into lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from shared.learning.lesson import takes
from shared.log.erasure import Erased, Erasure
from shared.log.join import Rules
from shared.log.joined import Held
from shared.log.labels import sound
from shared.log.relabel import relabel


class Stretch(msgspec.Struct, frozen=True, array_like=True):
    """A window of the log, or some of its lines.

    Attributes:
        start: the window's first bucket; 0 for a part of an import.
        held: what its blob holds.
        first, last, size: its lines from `first / size` of them to before `last / size`.
    """

    start: int
    held: Held
    first: int = 0
    last: int = 1
    size: int = 1


class Excerpt(msgspec.Struct, frozen=True, array_like=True):
    """What of the log somebody is to see.

    Attributes:
        multi_slot, mode, rules: which lines are for learning, and how they are labelled; see `lesson.Job`.
        erasures: what must not be seen any more.
        stretches: in order.
    """

    multi_slot: bool
    mode: str
    rules: Rules | None
    erasures: Sequence[Erasure]
    stretches: Sequence[Stretch]

    def read(self) -> Iterator[tuple[list[bytes], Rules | None]]:
        """The lines of each stretch, and by which rules they are to be labelled anew; None where they need not be.

        Raises:
            StorageError: a window is damaged.
        """
        erased = Erased(self.erasures)
        for stretch in self.stretches:
            lines, labels = stretch.held.lines(), stretch.held.labels
            count = len(lines)
            part = lines[count * stretch.first // stretch.size : count * stretch.last // stretch.size]
            # As nearly always: what is labelled by the rules of now is not looked at again.
            rules = None if self.rules is None or self.rules.labels == labels else self.rules
            yield erased.joined(part, stretch.start), rules

    def lessons(self) -> Iterator[list[bytes]]:
        """The lines for learning of each stretch, labelled by the rules.

        Raises:
            StorageError: a window is damaged.
        """
        for lines, rules in self.read():
            taken = [line for line in lines if takes(line, self.mode, self.multi_slot)]
            # One whose labels are unsound stays as it is: whoever reads it will refuse it.
            yield taken if rules is None else [relabel(line, rules) if sound(line) else line for line in taken]
