"""Queue: the pieces of work that the app has sent itself, one at a time."""

from __future__ import annotations

import os

import azure.functions as func

from shared import app, config, work

bp = func.Blueprint()


@bp.function_name("work")
@bp.queue_trigger(arg_name="message", queue_name=work.QUEUE, connection=config.work_connection(os.environ))
async def do_piece(message: func.QueueMessage) -> None:
    """Do one piece, or raise, so that the host delivers it again. Safe to run twice at once, and to be killed."""
    await app.current().work(message.get_body())
