"""Turns host.json, local.settings.json and the environment into one checked `Config`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

# Kestrel's limit in the Linux host; the app setting FUNCTIONS_REQUEST_BODY_SIZE_LIMIT changes it there too.
DEFAULT_BODY_LIMIT = 104_857_600
_PLACEHOLDER = re.compile(r"%([^%]+)%")
_TRUE = frozenset({"1", "true", "yes", "on"})
QUEUES_SETTING = "AzureFunctionsJobHost__extensions__queues__"
"""What begins the app settings that the host takes in place of members of `extensions.queues` in host.json."""


class StartError(Exception):
    """The app cannot be served as it is; the text is the one line that the user reads."""


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """What `extensions.queues` of host.json says, with the host's defaults; times are in seconds.

    Attributes:
        batch_size: how many messages are taken at once.
        new_batch_threshold: how many may still be worked on when more are taken.
        max_dequeue_count: after how many deliveries a message is poison.
        visibility_timeout: from a failure to the next delivery.
        max_polling_interval: from one look at an empty queue to the next.
        base64: whether messages are text in base64, or text as it is.
    """

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: int = 0
    max_polling_interval: float = 2.0
    base64: bool = True


@dataclass(frozen=True, slots=True)
class Config:
    """What the host was told, from files and environment together."""

    app_dir: Path
    data_dir: Path
    route_prefix: str = "api"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body_limit: int = DEFAULT_BODY_LIMIT
    threads: int | None = None
    cors_origins: frozenset[str] = frozenset()
    cors_credentials: bool = False
    homepage: bool = True
    decode_slash: bool = True
    queues: QueueOptions = field(default_factory=QueueOptions)


def load_config(app_dir: Path, environ: MutableMapping[str, str]) -> Config:
    """Read the settings of the app in `app_dir`.

    The `Values` of local.settings.json are put into `environ` where it does not hold the name already: the environment
    wins, as with `func start`. Raises `StartError` where a file or a value cannot be read.
    """
    local = _read_json(app_dir / "local.settings.json")
    for name, value in _section(local, "Values", "local.settings.json").items():
        # The app reads booleans as Core Tools hand them over: in lower case.
        environ.setdefault(name, value if isinstance(value, str) else json.dumps(value))
    host = _section(local, "Host", "local.settings.json")
    origins = frozenset(o.strip().rstrip("/") for o in str(host.get("CORS") or "").split(",") if o.strip())
    credentials = host.get("CORSCredentials") is True
    if credentials and "*" in origins:
        raise StartError("local.settings.json: CORSCredentials cannot be combined with CORS '*'; name the origins")

    extensions = _section(_read_json(app_dir / "host.json"), "extensions", "host.json")
    http = _section(extensions, "http", "host.json")
    prefix = http.get("routePrefix", "api")
    if not isinstance(prefix, str):
        raise StartError("host.json: extensions.http.routePrefix must be a string")
    return Config(
        app_dir=app_dir,
        data_dir=app_dir / (environ.get("RANKLOOP_DATA") or ".rankloop"),
        route_prefix=prefix.strip("/"),
        headers=_custom_headers(_section(http, "customHeaders", "host.json")),
        body_limit=_integer(environ, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", minimum=0) or DEFAULT_BODY_LIMIT,
        threads=_integer(environ, "PYTHON_THREADPOOL_THREAD_COUNT", minimum=1),
        cors_origins=origins,
        cors_credentials=credentials,
        homepage=not is_true(environ.get("AzureWebJobsDisableHomepage")),
        decode_slash=is_true(environ.get("RANKLOOP_DECODE_SLASH", "1")),
        queues=_queue_options({**_section(extensions, "queues", "host.json"), **_queue_settings(environ)}),
    )


def resolve_settings(text: str, environ: Mapping[str, str]) -> str:
    """Replace each %NAME% in `text` by the app setting of that name; `StartError` where there is none."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in environ:
            raise StartError(f"'%{name}%' does not resolve to a value: there is no app setting {name!r}")
        return environ[name]

    return _PLACEHOLDER.sub(value, text)


def is_disabled(function: str, environ: Mapping[str, str]) -> bool:
    """Whether the app setting `AzureWebJobs.<function>.Disabled` switches the function off."""
    # Linux allows no dots in the names of exported variables, so the platform reads underscores too.
    names = (f"AzureWebJobs.{function}.Disabled", f"AzureWebJobs_{function}_Disabled")
    return any(is_true(environ.get(name)) for name in names)


def is_true(text: str | None) -> bool:
    """Whether a setting's text means yes."""
    return text is not None and text.strip().lower() in _TRUE


def parse_interval(text: str) -> timedelta:
    """Read hh:mm:ss; `ValueError` where it is something else."""
    hours, minutes, seconds = (int(part) for part in text.split(":"))
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _custom_headers(given: Mapping[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    try:
        return tuple((name.lower().encode("ascii"), value.encode("ascii")) for name, value in given.items())
    except (AttributeError, UnicodeEncodeError):
        raise StartError("host.json: extensions.http.customHeaders must be an object of strings, in ASCII") from None


def _queue_settings(environ: Mapping[str, str]) -> dict[str, int | str]:
    named = {
        name.removeprefix(QUEUES_SETTING): text for name, text in environ.items() if name.startswith(QUEUES_SETTING)
    }
    return {name: int(text) if text.isascii() and text.isdigit() else text for name, text in named.items()}


def _queue_options(given: Mapping[str, Any]) -> QueueOptions:
    def whole(name: str, default: int, low: int, high: int) -> int:
        value = given.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise StartError(f"host.json: extensions.queues.{name} must be a whole number from {low} to {high}")
        return value

    def seconds(name: str, default: float) -> float:
        if name not in given:
            return default
        try:
            return parse_interval(given[name]).total_seconds()
        except (AttributeError, ValueError):
            raise StartError(f"host.json: extensions.queues.{name} must be a time, hh:mm:ss") from None

    encoding = given.get("messageEncoding", "base64")
    if encoding not in ("base64", "none"):
        raise StartError("host.json: extensions.queues.messageEncoding must be base64 or none")
    default = QueueOptions()
    batch = whole("batchSize", default.batch_size, 1, 32)
    return QueueOptions(
        batch_size=batch,
        new_batch_threshold=whole("newBatchThreshold", batch // 2, 0, 1000),
        max_dequeue_count=whole("maxDequeueCount", default.max_dequeue_count, 1, 1000),
        visibility_timeout=int(seconds("visibilityTimeout", default.visibility_timeout)),
        max_polling_interval=max(seconds("maxPollingInterval", default.max_polling_interval), 0.1),
        base64=encoding == "base64",
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        # Windows editors write a byte order mark, which the real host accepts.
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise StartError(f"{path.name}: {error}") from error
    if not isinstance(content, dict):
        raise StartError(f"{path.name}: the file must hold a JSON object")
    return content


def _section(content: Mapping[str, Any], key: str, file: str) -> Mapping[str, Any]:
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise StartError(f"{file}: {key} must be a JSON object")
    return value


def _integer(environ: Mapping[str, str], name: str, *, minimum: int) -> int | None:
    text = environ.get(name)
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        raise StartError(f"{name} must be an integer, not {text!r}") from None
    if value < minimum:
        raise StartError(f"{name} must be at least {minimum}, not {value}")
    return value
