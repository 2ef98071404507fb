"""Turns a Functions HTTP request into a call of one operation, and its result or refusal into the response.

The only module of `shared` that knows azure.functions, and the only place where exceptions become answers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache

import azure.functions as func

from shared import app as running
from shared.app import App
from shared.contract.errors import ApiError, internal_error, unavailable
from shared.edge.keys import Keys
from shared.edge.operations import REQUEST_ID, Call, Operation, Reply, find
from shared.loops.loops import DEFAULT
from shared.storage import StorageError

log = logging.getLogger("rankloop.web")

_FIXED = {"x-content-type-options": "nosniff"}


async def serve(req: func.HttpRequest, path: str, operation: Operation | None = None) -> func.HttpResponse:
    """Answer a request.

    Args:
        req: as the Functions worker hands it over.
        path: below the host, decoded, without a leading slash.
        operation: what the path names, where the route says it already.
    """
    app = running.current()
    headers = req.headers
    try:
        reply = await _call(app, req, headers, path, operation)
    except ApiError as e:
        reply = _refusal(app, e)
    except StorageError as e:
        app.counters.add("http.storage_errors")
        log.error("%s %s: storage does not answer: %s", req.method, path[:256], e)
        reply = _refusal(app, unavailable())
    except Exception:
        app.counters.add("http.faults")
        log.exception("%s %s failed", req.method, path[:256])
        reply = _refusal(app, internal_error())
    app.counters.add(f"http.{reply.status}")
    answered = {**_FIXED, **reply.headers}
    request_id = headers.get(REQUEST_ID, "")
    # The host refuses to write any header but printable ASCII, so an answer with one would be lost.
    if (
        request_id
        and request_id.isascii()
        and request_id.isprintable()
        and headers.get("x-ms-return-client-request-id", "").lower() == "true"
    ):
        answered[REQUEST_ID] = request_id
    if not reply.body:
        return func.HttpResponse(status_code=reply.status, headers=answered)
    # As a header: of a mimetype like this one azure.functions drops the charset.
    answered["Content-Type"] = "application/json; charset=utf-8"
    return func.HttpResponse(reply.body, status_code=reply.status, headers=answered)


async def _call(
    app: App, req: func.HttpRequest, headers: Mapping[str, str], path: str, operation: Operation | None
) -> Reply:
    _keys(app.config.key).check(headers)
    event_id = ""
    if operation is None:
        operation, event_id = find(req.method.upper(), path)
    body = req.get_body()
    if len(body) > app.config.max_body:
        message = f"The body has {len(body)} bytes; at most {app.config.max_body} are allowed."
        raise ApiError("PayloadSizeExceeded", message)
    return await operation(app, Call(DEFAULT, body, headers, event_id))


@lru_cache(maxsize=8)
def _keys(deployment_key: str) -> Keys:
    return Keys(deployment_key)


def _refusal(app: App, error: ApiError) -> Reply:
    app.counters.add(f"refused.{error.code}")
    return Reply(error.status, error.body(), error.headers())
