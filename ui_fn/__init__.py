"""HTTP: the page that shows a loop, and the files that it is made of."""

from __future__ import annotations

import azure.functions as func

from shared.edge import web

bp = func.Blueprint()
ROUTES = {
    # The host takes an empty route for a missing one and puts the function's name there: this one is empty to it, too.
    # The host's own page stands before it unless AzureWebJobsDisableHomepage is true.
    "home": "{home:maxlength(0)?}",
    "loop_home": "loops/{loop}",
    "page": "page/{*file}",
}
"""Functions by name."""

for name, route in ROUTES.items():
    bp.function_name(name)(
        bp.route(route=route, methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)(web.handler(route))
    )
