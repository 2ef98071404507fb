"""HTTP: a reward or an activation into the log."""

from __future__ import annotations

import azure.functions as func

from shared.edge import web

bp = func.Blueprint()


@bp.function_name("events")
@bp.route(route="personalizer/v1.0/events/{*event}", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def events(req: func.HttpRequest) -> func.HttpResponse:
    """POST personalizer/v1.0/events/{eventId}/reward and .../activate.

    A catch-all, since deployed Functions decode `%2F` before they route: an event id may come as several segments.
    """
    return await web.serve(req, f"personalizer/v1.0/events/{req.route_params.get('event', '')}")
