"""Turns the command line of `python -m localhost` into a served function app."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from localhost.config import StartError
from localhost.server import serve, set_up_logging


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes and return the exit code; a start-up error is one line on stderr and 1."""
    options = _parser().parse_args(arguments)
    app_dir = Path(options.app).resolve()
    try:
        set_up_logging()
        if not app_dir.is_dir():
            raise StartError(f"there is no directory {options.app}")
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            clean = runner.run(
                serve(
                    app_dir,
                    host=options.host,
                    port=options.port,
                    auth=options.auth,
                    timers=options.timers,
                    queues=options.queues,
                    replicas=options.replicas,
                    ready_line=options.ready_line,
                    decode_slash=options.decode_slash,
                )
            )
    except StartError as error:
        print(f"localhost: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # Only while the app is still being loaded: afterwards a signal is an orderly end.
        return 130
    if not clean:
        # A thread that was given up would keep the interpreter from ending.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localhost", description=__doc__)
    parser.add_argument("--app", default=".", metavar="DIR", help="directory of function_app.py (default: this one)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7071, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument("--auth", action="store_true", help="ask for function keys, as Azure does")
    parser.add_argument(
        "--timers", action=argparse.BooleanOptionalAction, default=True, help="run timers on their schedules"
    )
    parser.add_argument(
        "--queues", action=argparse.BooleanOptionalAction, default=True, help="take the messages of queue triggers"
    )
    parser.add_argument(
        "--replicas",
        action="store_true",
        help="agree with other replicas, by leases in the account of AzureWebJobsStorage, on who runs a timer",
    )
    parser.add_argument(
        "--decode-slash",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="decode %%2F before routing as Azure does, or keep it as func start does (default: RANKLOOP_DECODE_SLASH)",
    )
    parser.add_argument(
        "--ready-line",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="print 'ready http://HOST:PORT' on stdout once requests are served",
    )
    return parser


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    sys.exit(main())
