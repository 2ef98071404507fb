"""HTTP: everything but rank and events: settings, policy, model, health; and the 404 of any other path."""

from __future__ import annotations

import azure.functions as func

from shared.edge import web

bp = func.Blueprint()


@bp.function_name("personalizer")
@bp.route(route="personalizer/{*path}", auth_level=func.AuthLevel.ANONYMOUS)
async def personalizer(req: func.HttpRequest) -> func.HttpResponse:
    """Any call below personalizer/."""
    return await web.serve(req, f"personalizer/{req.route_params.get('path', '')}")


@bp.function_name("rankloop")
@bp.route(route="rankloop/{*path}", auth_level=func.AuthLevel.ANONYMOUS)
async def rankloop(req: func.HttpRequest) -> func.HttpResponse:
    """Any call below rankloop/: Rankloop's own operations."""
    return await web.serve(req, f"rankloop/{req.route_params.get('path', '')}")
