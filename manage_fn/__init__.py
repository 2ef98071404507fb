"""HTTP: everything but rank and events: settings, policy, model, log, loops, health; the API's description; 404s."""

from __future__ import annotations

import azure.functions as func

from shared.edge import web

bp = func.Blueprint()
ROUTES = {
    "personalizer": "personalizer/{*path}",
    "rankloop": "rankloop/{*path}",
    "loop_personalizer": "loops/{loop}/personalizer/{*path}",
    "loop_rankloop": "loops/{loop}/rankloop/{*path}",
    "openapi": "openapi.json",
    "probe": "health/{probe}",
}
"""Functions by name."""

for name, route in ROUTES.items():
    bp.function_name(name)(bp.route(route=route, auth_level=func.AuthLevel.ANONYMOUS)(web.handler(route)))
