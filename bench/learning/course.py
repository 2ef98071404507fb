"""Turns a world into the rewards that a loop earns in it: the product's own code, with a lesson after every 100 events.

Requests are decoded, sanitised, scored and drawn; journal lines and rewards are joined; joined lines are learned, and
the model is saved and loaded to serve. Only HTTP, storage and the timers are left out: a test holds this to the same
model, byte for byte, as they make.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import orjson

from bench.learning.situation import Situation
from shared.contract.requests import multi_slot_rank_request, rank_request
from shared.learning.lesson import Job, learn
from shared.learning.model import Learner, ServingModel
from shared.log.buckets import Waits
from shared.log.join import decode_events, join
from shared.log.records import ONLINE, Observed
from shared.loops import policy
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import Decision, log_line
from shared.ranking.features import is_plain
from shared.ranking.model_cache import Held
from shared.ranking.multi_slot import decide_slots
from shared.ranking.rank import decide

STEP = 100
"""Events between two models."""
LOOP_ID = f"{2026:032x}"
"""It is part of every draw's seed."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A decision, and what it earned.

    Attributes:
        decision: as it is logged and answered.
        reward: what it earned; in multi-slot the mean of its slots.
    """

    decision: Decision
    reward: float


class Course:
    """A loop that plays and learns.

    Args:
        arguments: its learning policy. Its epsilon is the loop's exploration percentage, as a PUT of the policy has it.
        name: begins the event ids, on which the draws depend: another name is another run.
        mode: its learning mode.
        loop_id: its id.
    """

    def __init__(self, arguments: str, name: str, mode: str = ONLINE, loop_id: str = LOOP_ID) -> None:
        learned = policy.read(arguments)
        exploration = ServiceConfiguration().exploration_percentage if learned.epsilon is None else learned.epsilon
        configuration = ServiceConfiguration(exploration_percentage=exploration, learning_mode=mode)
        self.loop = Loop(loop_id, configuration, learned, Waits(((0, configuration.reward_wait_time),)))
        self._job = Job(
            loop_id,
            self.loop.learned.training,
            learned.resuming,
            self.loop.learned.lineage,
            self.loop.multi_slot,
            mode,
            0,
            0,
            0,
            0.0,
        )
        self._name = name
        self._learner: Learner | None = None
        self._held, self._cache = Held(exploration=exploration), ActionCache()
        self._events = 0
        self._lines: list[bytes] = []
        self._observed: list[Observed] = []
        self.model = b""
        """The file that serves; empty before the first lesson."""
        self.learned: list[bytes] = []
        """The joined lines of the last lesson."""

    def play(self, situations: Iterable[Situation]) -> list[Taken]:
        """Decide and learn them all, in order."""
        return [self._event(situation) for situation in situations]

    def close(self) -> None:
        """Free VW's memory."""
        if self._learner:
            self._learner.close()
        if self._held.model:
            self._held.model.close()

    def _event(self, situation: Situation) -> Taken:
        event_id = f"{self._name}-{self._events}"
        body = situation.body(event_id)
        if self.loop.multi_slot:
            decision = decide_slots(multi_slot_rank_request(body), is_plain(body), self.loop, self._held, self._cache)
        else:
            decision = decide(rank_request(body), is_plain(body), self.loop, self._held, self._cache)
        now = float(self._events)
        self._lines.append(log_line(decision, now, False))
        answer = orjson.loads(decision.body)
        if self.loop.multi_slot:
            slots = [
                (slot["id"], situation.rewards[f"{slot['id']}/{slot['rewardActionId']}"]) for slot in answer["slots"]
            ]
            reward = fmean(value for _, value in slots)
            self._observed.append(Observed(event_id, now + 0.5, "r", 0.0, slots))
        else:
            reward = situation.rewards[answer["rewardActionId"]]
            self._observed.append(Observed(event_id, now + 0.5, "r", reward))
        self._events += 1
        if self._events % STEP == 0:
            self._lesson()
        return Taken(decision, reward)

    def _lesson(self) -> None:
        self.learned = join(decode_events(self._lines), self._observed, [], self.loop.rules().at(0)).lines
        # Each run of the train timer loads the model's file. Where that changes nothing it is left out, to save time.
        learner = self._learner or Learner(self._job.arguments, self.model or None, self._job.resuming)
        lesson = learn(learner, self.learned, self._job)
        self.model = learner.save()
        if self.loop.policy.resumes:
            self._learner = learner
        else:
            learner.close()
        if lesson.events != STEP:
            raise RuntimeError(f"of {STEP} events {lesson.events} were learned, {lesson.refused} refused")
        self._lines, self._observed = [], []
        if self._held.model:
            self._held.model.close()
        serving = self.loop.policy.serving(self.loop.configuration.exploration_percentage)
        self._held = Held(model=ServingModel(self.model, serving), exploration=self._held.exploration)
