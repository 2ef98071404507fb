"""HTTP: rewards and activations, single and multi-slot, into the log."""

from __future__ import annotations

import azure.functions as func

from shared.edge import web

bp = func.Blueprint()
ROUTES = {
    "events": "personalizer/{version}/events/{*event}",
    "events_slots": "personalizer/{version}/multislot/events/{*event}",
    "events_2022": "personalizer/events/{*event}",
    "loop_events": "loops/{loop}/personalizer/{version}/events/{*event}",
    "loop_events_slots": "loops/{loop}/personalizer/{version}/multislot/events/{*event}",
    "loop_events_2022": "loops/{loop}/personalizer/events/{*event}",
}
"""Functions by name. `multislot` itself stands for `{version}` in the path of 2022-09-01-preview. Catch-alls, since
deployed Functions decode `%2F` before they route: an event id may come as several segments (ADR 0005)."""

for name, route in ROUTES.items():
    bp.function_name(name)(
        bp.route(route=route, methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)(web.handler(route))
    )
