"""Turns a loop and the state of its log into what to train it on."""

from __future__ import annotations

from shared.learning.lesson import Job
from shared.learning.shaping import Shaping
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import Erased
from shared.log.join import Rules
from shared.loops.settings import Loop


def job_of(loop: Loop, checkpoint: Checkpoint) -> Job:
    """What to train a loop on, as its settings and its log are."""
    held = loop.configuration
    rules = Rules(held.reward_wait_time, held.default_reward, held.reward_aggregation, held.reward_range)
    return Job(
        loop_id=loop.id,
        arguments=loop.learned.training,
        resuming=loop.policy.resuming,
        lineage=loop.learned.lineage,
        multi_slot=loop.multi_slot,
        mode=held.learning_mode,
        watermark=checkpoint.watermark,
        since=checkpoint.since,
        retrain_days=held.model_retrain_days,
        export_frequency=held.model_export_frequency,
        generation=checkpoint.generation,
        erased=Erased(checkpoint.erasures),
        merges=loop.policy.merges,
        shaping=Shaping(
            rules,
            held.exploration_percentage,
            held.learning_mode,
            held.model_retrain_days,
            tuple(sorted(loop.imports)),
        ),
    )
