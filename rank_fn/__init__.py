"""HTTP: rank requests, single and multi-slot, into the chosen actions."""

from __future__ import annotations

import azure.functions as func

from shared.edge import web

bp = func.Blueprint()
ROUTES = {
    "rank": "personalizer/{version}/rank",
    "rank_slots": "personalizer/{version}/multislot/rank",
    "rank_2022": "personalizer/rank",
    "loop_rank": "loops/{loop}/personalizer/{version}/rank",
    "loop_rank_slots": "loops/{loop}/personalizer/{version}/multislot/rank",
    "loop_rank_2022": "loops/{loop}/personalizer/rank",
}
"""Functions by name. `multislot` itself stands for `{version}` in the path of 2022-09-01-preview."""

for name, route in ROUTES.items():
    bp.function_name(name)(
        bp.route(route=route, methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)(web.handler(route))
    )
