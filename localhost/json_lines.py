"""Turns log records into lines of JSON, one each, for whoever collects what a container writes."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

_MORE = ("loop", "event")
"""Members that an app may give its records."""


class JsonLines(logging.Formatter):
    """Formats records as objects: time, level, logger and message; an exception with its trace; loop and event."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as a line."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {name: value for name in _MORE if (value := getattr(record, name, ""))}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)
