"""HTTP: a rank request into the chosen action."""

from __future__ import annotations

import azure.functions as func

from shared.edge import operations, web

bp = func.Blueprint()


@bp.function_name("rank")
@bp.route(route="personalizer/v1.0/rank", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def rank(req: func.HttpRequest) -> func.HttpResponse:
    """POST personalizer/v1.0/rank."""
    return await web.serve(req, "personalizer/v1.0/rank", operations.rank)
