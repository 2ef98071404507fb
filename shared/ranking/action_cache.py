"""Turns the JSON of an action into its sanitised form, and remembers it: the same actions come with most requests."""

from __future__ import annotations

from shared.ranking.features import Action, sanitise_action

_ENTRY = 280
"""Bytes that a kept action takes besides its JSON: ids, the objects' own headers, the dictionary; measured."""


class ActionCache:
    """Sanitised actions by their JSON bytes, least recently used out first; bounded in bytes.

    Two generations stand in for a linked list: what is used moves to the young one, and when that is full the old
    one is dropped. A look-up is one or two dictionary reads.
    """

    def __init__(self, max_bytes: int = 32 * 1024 * 1024) -> None:
        self.max_bytes = max_bytes
        self._half = max_bytes // 2
        self._young: dict[bytes, Action] = {}
        self._old: dict[bytes, Action] = {}
        self._young_bytes = 0
        self._old_bytes = 0

    @property
    def size(self) -> int:
        """How many bytes the kept actions take, about."""
        return self._young_bytes + self._old_bytes

    def __len__(self) -> int:
        """How many actions are kept."""
        return len(self._young.keys() | self._old.keys())

    def get(self, raw: bytes, index: int, plain: bool) -> Action:
        """The sanitised action of these bytes; see `sanitise_action` for arguments and errors."""
        if (action := self._young.get(raw)) is not None:
            return action
        action = self._old.pop(raw, None) or sanitise_action(raw, index, plain)
        size = len(raw) + len(action.example) + _ENTRY
        if size <= self._half // 8:  # one giant action may not empty the cache
            if self._young_bytes + size > self._half:
                self._old, self._old_bytes = self._young, self._young_bytes
                self._young, self._young_bytes = {}, 0
            self._young[raw] = action
            self._young_bytes += size
        return action
