"""Turns a Functions HTTP request into a call of one operation, and its result or refusal into the response.

The only module of `shared` that knows azure.functions, and the only place where exceptions become answers.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping

import azure.functions as func

from shared import app as running
from shared.access.roles import Role
from shared.app import App
from shared.contract.errors import ApiError, internal_error, overloaded, too_many, unavailable
from shared.edge import page
from shared.edge.calls import REQUEST_ID, Call, Reply
from shared.edge.door import Leave, count, enter
from shared.edge.probes import PROBES
from shared.edge.routes import MAX_UPLOAD, Found, find
from shared.storage import StorageError
from shared.telemetry import about
from shared.telemetry.traces import NOTHING, Span

log = logging.getLogger("rankloop.web")

DOCUMENT = "openapi.json"
"""The path of the API's description, which takes no key: it holds nothing secret."""
_FIXED = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
"""Headers of every answer that says nothing else of them: what a loop holds is for whoever has a key of it."""
_OF_EVENT = ("events/", "multislot/events/")
_NAMED = re.compile(r"(?is)(\b(?:events|subjects)/).*")
_HOLE = re.compile(r"\{\*?(\w+)[^}]*\}")


def handler(route: str) -> Callable[[func.HttpRequest, func.Context], Awaitable[func.HttpResponse]]:
    """The function that answers the calls of a Functions route, such as `personalizer/{version}/rank`."""

    async def http(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        params = req.route_params
        path = _HOLE.sub(lambda hole: params.get(hole[1]) or "", route)
        return await serve(req, path, context.trace_context.trace_parent or "")

    return http


def admit(path: str, size: int | None) -> Leave | func.HttpResponse:
    """Let a call in, or answer it: for a host that can ask before it has read the body, and then asks for every call.

    Args:
        path: below the host, decoded, without a leading slash.
        size: of the body in bytes, as the call's headers tell it; None where they do not.

    Returns:
        What to call when the call was answered; or the answer, where there is no place for it. That is the same one for
        all such calls, so that it costs nothing to make: it does not repeat a caller's request id.
    """
    app = running.current()
    app.admission.asked_outside = True
    leave = enter(app, path, app.config.max_body if size is None else size)
    if leave is not None:
        return leave
    app.counters.add(f"refused.{_OVERLOADED.code}")
    app.counters.add(f"http.{_OVERLOADED.status}")
    count(app, path, _OVERLOADED.status)
    return _TURNED_AWAY


async def serve(req: func.HttpRequest, path: str, parent: str = "") -> func.HttpResponse:
    """Answer a request.

    Args:
        req: as the Functions worker hands it over.
        path: below the host, decoded, without a leading slash.
        parent: the W3C traceparent that the call belongs to, empty for none.
    """
    app = running.current()
    with app.unsaid.call():
        if app.admission.asked_outside:
            reply = await _reply(app, req, path, parent)
        elif (leave := enter(app, path, len(req.get_body()))) is not None:
            try:
                reply = await _reply(app, req, path, parent)
            finally:
                leave()
        else:
            reply = _refusal(app, _OVERLOADED)
    app.counters.add(f"http.{reply.status}")
    count(app, path, reply.status)
    app.telemetry.soon()
    return _response(reply, req.headers)


async def _reply(app: App, req: func.HttpRequest, path: str, parent: str) -> Reply:
    method = req.method.upper()
    if method in ("GET", "HEAD"):
        if path.lower() == DOCUMENT:
            return await _answer(app, req, path, _openapi(req.headers.get("if-none-match", "")))
        if probe := PROBES.get(path.lower().rstrip("/")):
            return await _answer(app, req, path, probe(app))
        if page.has(path):
            return await _answer(app, req, path, _page(app, path, req.headers))
    try:
        found = find(method, path, req.params)
    except ApiError as e:
        return _refusal(app, e)
    began, operation = time.monotonic(), found.route.operation.__name__
    token = about.begin(found.loop[:64], found.id[:256] if found.route.path.startswith(_OF_EVENT) else "")
    try:
        with app.traces.whole(operation, parent) as span:
            reply = await _answer(app, req, path, _call(app, req, found))
            _tell(span, reply)
        return reply
    finally:
        about.end(token)
        app.counters.measure("call.duration", time.monotonic() - began, operation)


def _tell(span: Span, reply: Reply) -> None:
    """Tell a span what a call was about and how it ended: no key, no subject, none of the caller's features."""
    if span is NOTHING:
        return
    if (held := about.current()) is not None:
        span.tell("rankloop.loop", held.loop)
        if held.event:
            span.tell("rankloop.event", held.event)
    span.tell("http.response.status_code", reply.status)
    if code := reply.headers.get("x-ms-error-code"):
        span.tell("error.type", code)


async def _answer(app: App, req: func.HttpRequest, path: str, answering: Awaitable[Reply]) -> Reply:
    """What was made of a call; where that failed, the refusal in its place."""
    try:
        return await answering
    except ApiError as e:
        return _refusal(app, e)
    except StorageError as e:
        app.counters.add("http.storage_errors")
        log.error("%s %s: storage does not answer: %s", req.method, _told_path(path), e)
        return _refusal(app, unavailable())
    except Exception:
        app.counters.add("http.faults")
        log.exception("%s %s failed", req.method, _told_path(path))
        return _refusal(app, internal_error())


def _response(reply: Reply, headers: Mapping[str, str]) -> func.HttpResponse:
    """The response that holds a reply to a call of these headers."""
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
    # As a header: of a mimetype like JSON's azure.functions drops the charset.
    answered["Content-Type"] = reply.content_type
    return func.HttpResponse(reply.body, status_code=reply.status, headers=answered)


async def _page(app: App, path: str, headers: Mapping[str, str]) -> Reply:
    """The page, or a file of it; see `page.reply`."""
    return page.reply(path, headers, page.sign_in(app.config))


async def _openapi(if_none_match: str) -> Reply:
    """The API's description; see `openapi.reply`."""
    from shared.edge import openapi  # a cold start need not pay for what few ask for

    return await asyncio.to_thread(openapi.reply, if_none_match)


async def _call(app: App, req: func.HttpRequest, found: Found) -> Reply:
    headers = req.headers
    try:
        loop = await app.loops.named(found.loop)
    except ApiError as e:
        # Whether there is such a loop is told to those alone whose roles hold for any: a loop's key is not among them.
        if await app.access.roles(headers, None):
            raise
        raise ApiError("Unauthorized", "The key is not one of this loop's keys.") from e
    roles = await app.access.roles(headers, loop)
    if not roles & found.route.role:
        wanted = f"Rankloop.{(found.route.role.name or '').title()}"
        raise ApiError("Forbidden", f"This call takes the role {wanted}, which the caller lacks.")
    if found.route.role is Role.CALL and (wait := app.rates.take(loop.id, loop.limits)) is not None:
        app.counters.add("calls.limited")
        raise too_many(wait)
    body = req.get_body()
    most = MAX_UPLOAD if found.route.body is bytes else app.config.max_body
    if len(body) > most:
        raise ApiError("PayloadSizeExceeded", f"The body has {len(body)} bytes; at most {most} are allowed.")
    call = Call(loop, found.loop, body, headers, found.version, found.id, req.params, req.url.partition("?")[0], roles)
    return await found.route.operation(app, call)


def _told_path(path: str) -> str:
    """A path as the log may hold it: without the event or subject that it names, and on one line."""
    return repr(_NAMED.sub(r"\1...", path)[:256])[1:-1]


def _refusal(app: App, error: ApiError) -> Reply:
    app.counters.add(f"refused.{error.code}")
    return _told(error)


def _told(error: ApiError) -> Reply:
    return Reply(error.status, error.body(), error.headers())


_OVERLOADED = overloaded()
_TURNED_AWAY = _response(_told(_OVERLOADED), {})
