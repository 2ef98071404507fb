"""Timer: closed rank events and rewards into the joined log."""

from __future__ import annotations

import os

import azure.functions as func

from shared import app

bp = func.Blueprint()
# A setting that is missing would keep the whole app from loading.
SCHEDULE = "%RANKLOOP_JOIN_SCHEDULE%" if "RANKLOOP_JOIN_SCHEDULE" in os.environ else "0 */2 * * * *"


@bp.function_name("join_timer")
@bp.timer_trigger(schedule=SCHEDULE, arg_name="timer", run_on_startup=False, use_monitor=False)
async def join_timer(timer: func.TimerRequest) -> None:
    """Join what is due. Safe to run twice at once, and to be killed anywhere."""
    await app.current().join_due()
