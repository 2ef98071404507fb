"""Turns a loop's traffic into one of which events and subjects are erased, and keeps what must be gone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from tests.faults.traffic import Traffic

_PEOPLE = 3
"""Subjects that have events at a time."""


@dataclass
class Forgetful(Traffic):
    """Traffic with old events that are rewarded once more, and some that are erased, of which nothing more comes then.

    Attributes:
        wishes: what is to be erased, one after the other; the first one is until that is promised.
        forgotten: subjects that were erased.
        traceless: events that were erased, and whose observations must be gone as well: those of a subject, where it
            is sure that it ever had the event.
        leaving: events whose erasure was asked for, whether it is promised or not.
        records: by the id of an erasure what it is for, an event or a subject.
    """

    noisy: float = 0.4  # or hardly any row would hold one that stays beside one that goes
    wishes: deque[Literal["event", "subject"]] = field(default_factory=deque)
    forgotten: set[str] = field(default_factory=set)
    traceless: set[str] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)
    records: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._people = [f"person {n} of the loop" for n in range(_PEOPLE)]
        self._born = _PEOPLE

    def __hash__(self) -> int:
        return id(self)

    def _besides(self) -> list[Coroutine[Any, Any, None]]:
        return [*super()._besides(), self._wish(), self._reward_late()]

    def _delay(self) -> float:
        return self._chance.uniform(0, 1)  # what comes late is sent beside

    def _subject(self) -> str:
        return self._chance.choice(self._people) if self._chance.random() < 0.4 else ""

    async def _reward_late(self) -> None:
        """Reward events of any age."""
        while not self._stop_now.is_set():
            await asyncio.sleep(2 * self.pace)
            ids = [one for one in self.ranked if one not in self.leaving]
            if ids and not self.resting:
                await self._observe(self._chance.choice(ids), "r", 0.0)

    async def _wish(self) -> None:
        while not self._stop_now.is_set():
            await asyncio.sleep(0.2)
            while self.wishes and not self._stop_now.is_set():
                await self._erase_subject() if self.wishes[0] == "subject" else await self._erase_event()
                self.wishes.popleft()

    async def _erase_event(self) -> None:
        ids = [one for one, ranked in self.ranked.items() if not ranked.under_way and one not in self.leaving]
        if ids:
            event_id = self._chance.choice(ids)
            self.leaving.add(event_id)
            if await self._erase(f"events/{event_id}", event_id):
                self.erased.add(event_id)
                self.traceless.add(event_id)
            else:
                self.unsure.add(event_id)

    async def _erase_subject(self) -> None:
        n = self._chance.randrange(_PEOPLE)
        subject, self._people[n] = self._people[n], f"person {self._born} of the loop"
        self._born += 1
        mine = {one: ranked for one, ranked in self.ranked.items() if ranked.subject == subject}
        self.leaving |= mine.keys()
        while any(ranked.under_way for ranked in mine.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        if await self._erase(f"subjects/{subject.replace(' ', '%20')}", subject):
            self.forgotten.add(subject)
            self.erased |= mine.keys()
            self.traceless |= {one for one, ranked in mine.items() if ranked.durable}
        else:
            self.unsure |= mine.keys()

    async def _erase(self, what: str, name: str) -> bool:
        """Ask for it until it is promised; whether it ever was."""
        path = f"{self._root}/rankloop/v1/"
        while not self._stop_now.is_set() or self.addresses():
            promised = await self._send("DELETE", path + what, None, (202, 503))
            if promised.status == 202:
                erasure_id = orjson.loads(promised.body)["id"]
                self.records[erasure_id] = name
                await self._send("GET", f"{path}erasures/{erasure_id}", None, (200, 503))
                await self._send("GET", f"{path}erasures", None, (200, 503))
                return True
        return False
