"""Turns the environment into telemetry that begins to be sent once a call was answered, or into none."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from shared.counters import Counters

log = logging.getLogger("rankloop.telemetry")

_WHERE = (
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)
"""Settings that say where telemetry goes; without one it goes nowhere, and costs nothing."""
_AFTER = 1.0
"""Seconds from the first answer until the libraries are loaded: callers who wait behind it go first."""
_PATIENCE = 5.0
"""Seconds for which a timer's run, and the end of the process, wait for what is being sent."""
_INTERVAL_MS = 60_000.0


class Sender(Protocol):
    """What sends; see `export.Export`."""

    def send(self) -> None:
        """Send what there is."""
        ...

    def close(self) -> None:
        """Send what is left, and take nothing more."""
        ...


Load = Callable[[], Sender]


class Telemetry:
    """The telemetry of one process.

    Args:
        environment: says where it goes; see `_WHERE`. OTEL_SDK_DISABLED switches it off, OTEL_METRIC_EXPORT_INTERVAL is
            how often it is sent, in milliseconds.
        counters: gets telemetry.failed.
        load: loads the libraries, and makes what sends.
    """

    def __init__(self, environment: Mapping[str, str], counters: Counters, load: Load) -> None:
        off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
        self.wanted = not off and any(environment.get(name) for name in _WHERE)
        self._interval = _interval(environment)
        self._counters = counters
        self._load = load
        self._asked = False
        self._sender: Sender | None = None
        self._sent = -float("inf")
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def soon(self) -> None:
        """Begin, if that was not said before; for whoever has just answered a call."""
        if self.wanted and not self._asked:
            self._asked = True
            thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
            asyncio.get_running_loop().call_later(_AFTER, thread.start)

    async def flush(self) -> None:
        """Send what there is, unless that was just done; for a timer's run, whose instance may sleep behind it."""
        if self.wanted and time.monotonic() - self._sent > self._interval / 2:
            await _wait_for(self._send)

    async def end(self) -> None:
        """Send what is left, for as long as that may take."""
        self._ended.set()
        if self._sender is not None:
            await _wait_for(self._close)

    def _run(self) -> None:
        """Send again and again; on a thread of its own, since the libraries wait for what they send."""
        self._open()
        while self.wanted and not self._ended.wait(self._interval):
            self._send()

    def _open(self) -> Sender | None:
        with self._lock:
            if self._sender is None and self.wanted and not self._ended.is_set():
                try:
                    self._sender = self._load()
                except Exception:
                    self.wanted = False
                    self._counters.add("telemetry.failed")
                    log.exception("telemetry goes nowhere, since what sends it could not be set up")
            return self._sender

    def _send(self) -> None:
        if (sender := self._open()) is None:
            return
        with self._lock:
            if self._ended.is_set():
                return
            self._sent = time.monotonic()
            try:
                sender.send()
            except Exception:
                self._counters.add("telemetry.failed")
                log.exception("telemetry could not be sent, and goes with the next round")

    def _close(self) -> None:
        with self._lock:
            sender, self._sender = self._sender, None
            if sender is not None:
                try:
                    sender.close()
                except Exception:
                    log.exception("the last telemetry could not be sent")


async def _wait_for(work: Callable[[], object]) -> None:
    """Have something done on a thread that keeps no process from ending, and wait for it for a while."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        work()
        with suppress(RuntimeError):  # nobody waits any more, and the loop is closed
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="telemetry-once", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            await done.wait()


def _interval(environment: Mapping[str, str]) -> float:
    """Seconds from one round of sending to the next."""
    try:
        milliseconds = float(environment.get("OTEL_METRIC_EXPORT_INTERVAL", _INTERVAL_MS))
    except ValueError:
        milliseconds = _INTERVAL_MS
    return max(milliseconds, 100.0) / 1000
