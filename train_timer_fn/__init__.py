"""Timer: the joined log into a published model version, a minute after the join."""

from __future__ import annotations

import os

import azure.functions as func

from shared import app

bp = func.Blueprint()
# A setting that is missing would keep the whole app from loading.
SCHEDULE = "%RANKLOOP_TRAIN_SCHEDULE%" if "RANKLOOP_TRAIN_SCHEDULE" in os.environ else "0 1-59/2 * * * *"


@bp.function_name("train_timer")
@bp.timer_trigger(schedule=SCHEDULE, arg_name="timer", run_on_startup=False, use_monitor=False)
async def train_timer(timer: func.TimerRequest) -> None:
    """Train and publish what is due. Safe to run twice at once, and to be killed anywhere."""
    await app.current().train_due()
