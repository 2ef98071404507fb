"""Turns a `Host` into a listening process, and SIGTERM or SIGINT into its orderly end."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

import uvicorn

from localhost.config import StartError, load_config
from localhost.connection import Connection
from localhost.functions import HttpTrigger, QueueTrigger
from localhost.host import Host
from localhost.json_lines import JsonLines
from localhost.keys import Keys
from localhost.leases import open_leases
from localhost.loading import load_app, put_last_on_path

_log = logging.getLogger("localhost")
# As Kestrel: clients that keep a connection for a minute or two must not find it closed.
_KEEP_ALIVE = 130
# How long an orderly end may take, in seconds: less than a minute in all, which is what supervisors tend to wait.
_REQUESTS_GRACE = 10
_TIMERS_GRACE = 30
_QUEUES_GRACE = 20  # work that is cut off is given back, and lost to nobody
_DRAIN_GRACE = 15
# How many connections may be accepted in one turn of the event loop.
_ACCEPTED = 32


async def serve(
    app_dir: Path,
    *,
    host: str,
    port: int,
    auth: bool,
    timers: bool,
    queues: bool,
    replicas: bool,
    ready_line: bool,
    decode_slash: bool | None,
) -> bool:
    """Serve the app until a signal comes; False if something had to be abandoned at the end.

    Must be called on the event loop that will serve, since that is where Azure imports an app as well. A second signal
    ends the process at once. Raises `StartError` where the app, its settings or the address are not usable.
    """
    config = load_config(app_dir, os.environ)
    if decode_slash is not None:
        config = replace(config, decode_slash=decode_slash)
    put_last_on_path(app_dir)
    os.chdir(app_dir)  # As in Azure, where the app is the working directory.
    app = load_app(app_dir, os.environ)
    keys = Keys.from_environment(os.environ, enforced=auth)
    application = Host(
        app,
        config,
        keys,
        timers_grace=_TIMERS_GRACE,
        queues_grace=_QUEUES_GRACE,
        drain_grace=_DRAIN_GRACE,
        leases=open_leases(os.environ) if replicas else None,
    )
    listener = _listen(host, port)
    address = _address(listener)
    _describe(application)
    if keys.to_be_logged(replicas=replicas):
        _log.info("function key %s, master key %s", keys.function, keys.master)
    _log.info("%d functions of %s at %s", len(app.functions), config.app_dir.name, address)

    def started() -> None:
        if ready_line:
            print(f"ready {address}", flush=True)
        if timers:
            application.timers.start()
        if queues:
            application.queues.start()

    server = _Server(
        uvicorn.Config(
            application,
            lifespan="on",
            interface="asgi3",
            http=Connection,
            ws="none",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="warning",
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_REQUESTS_GRACE,
        ),
        started,
    )
    # uvloop accepts one connection a turn of the event loop from each: with one alone, new callers would wait for
    # seconds where turns are long and callers many.
    await server.serve(sockets=[listener, *(listener.dup() for _ in range(_ACCEPTED - 1))])
    return not application.abandoned


class _Server(uvicorn.Server):
    """uvicorn's server, that says when it has started and leaves the exit code to us."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would raise the signal again after an orderly end, and so never exit with 0.
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StartError(f"cannot listen on {host}:{port}: {reason}") from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _describe(application: Host) -> None:
    for route, function in application.router.routes:
        trigger = function.trigger
        if isinstance(trigger, HttpTrigger):
            methods = ",".join(sorted(trigger.methods)) or "any method"
            off = " (disabled)" if function.disabled else ""
            _log.info("  %s: [%s] /%s, %s%s", function.name, methods, route.template, trigger.level, off)
    for timer in application.timers.timers.values():
        off = " (disabled)" if timer.function.disabled else ""
        _log.info("  %s: timer %s%s", timer.function.name, timer.schedule.expression, off)
    for function in application.queues.functions:
        if isinstance(trigger := function.trigger, QueueTrigger):
            off = " (disabled)" if function.disabled else ""
            _log.info("  %s: queue %s of %s%s", function.name, trigger.queue, trigger.connection, off)


def set_up_logging() -> None:
    """Send log lines of RANKLOOP_LOG_LEVEL (info unless set) and above to stderr, as RANKLOOP_LOG_FORMAT says."""
    level = os.environ.get("RANKLOOP_LOG_LEVEL", "info").upper()
    if level not in logging.getLevelNamesMapping():
        raise StartError(f"RANKLOOP_LOG_LEVEL={level.lower()} is no level: choose debug, info, warning or error")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(os.environ.get("RANKLOOP_LOG_FORMAT", "text")))
    # The library's advice to apps without HTTP functions; it is not about anything that they did.
    handler.addFilter(lambda record: "Auth level is not applied to non http" not in str(record.msg))
    logging.basicConfig(level=level, handlers=[handler])
    # The SDKs log every request and response at INFO: those of leases and queues, too, which come before the app's.
    logging.getLogger("azure").setLevel(logging.WARNING)


def _formatter(name: str) -> logging.Formatter:
    if name == "json":
        return JsonLines()
    if name != "text":
        raise StartError(f"RANKLOOP_LOG_FORMAT={name} is no format: choose text or json")
    return logging.Formatter("%(asctime)s %(levelname).1s %(name)s %(message)s")
