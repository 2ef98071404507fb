"""Turns a loop's joined windows into plain dsjson blobs in a container of the caller's own (contract 3.1, 5.8).

Where that container lies, a caller says; so its URI is checked before it is kept and before each use, against the
hosts that the deployment's operator allows. The signature in the URI is a secret: nothing here logs it or repeats it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from urllib.parse import unquote

import msgspec

from shared.contract.errors import ApiError
from shared.counters import Counters
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.erasure import Erased
from shared.log.joined import Window
from shared.storage import Blobs, Conflict, Container, OpenContainer, StorageError, documents

MEMBER = "logMirrorSasUri"
PROBE = "checkwritepermissions.txt"
"""The blob that is written and deleted to see whether that can be done; its name is the original's (contract 3.1)."""
MOST = 300
"""Windows that one run copies; the next run goes on."""
_AT_ONCE = 4
"""Loops that are mirrored at a time: a window of each is held in memory."""
_MAX_LENGTH = 2048
_URI = re.compile(r"(https?)://([^/?#\\]+)/([^?#\\]+)\?([^#\\]+)", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+")
_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


def open_container(url: str) -> AbstractAsyncContextManager[Container]:
    """The container at a URL that says what it may be used for; see `shared.storage.azure.open_container`."""
    from shared.storage import azure  # the SDKs take 0.3 s of a cold start

    return azure.open_container(url)


class Progress(msgspec.Struct):
    """How far a mirror has come: every window before `through` is copied, or was never to be."""

    through: int
    format: int = documents.FORMAT


def progress_path(loop_id: str) -> str:
    """The blob of a mirror's progress."""
    return f"loops/{loop_id}/mirror.json"


def blob_name(edited: float, window: Window) -> str:
    """The name of a window's blob in the mirror.

    Args:
        edited: when the loop's configuration was last edited, or the loop made, in seconds since the epoch.
        window: the window.
    """
    folder = datetime.fromtimestamp(edited, UTC).strftime("%Y%m%d%H%M%S")
    return f"{folder}/data/{datetime.fromtimestamp(window.start, UTC):%Y/%m/%d}_{window.start:010d}.json"


def check_uri(sas_uri: str, hosts: Collection[str], now: float) -> None:
    """See that a URI names a container on an allowed host, with a signature that holds for what a mirror does.

    Args:
        sas_uri: as a caller gave it.
        hosts: host names, suffixes of such that begin with a dot, and, for emulators, `http://host:port`.
        now: seconds since the epoch.

    Raises:
        ValueError: it does not; the text says why, and quotes no secret.
    """
    if not sas_uri:
        raise ValueError(
            f"{MEMBER} is missing: logMirrorEnabled needs a container's URI with a shared access signature."
        )
    match = _URI.fullmatch(sas_uri)
    if (
        match is None
        or len(sas_uri) > _MAX_LENGTH
        or not (sas_uri.isascii() and sas_uri.isprintable())
        or " " in sas_uri
    ):
        raise ValueError(f"{MEMBER} must be https://<account's host>/<container>?<shared access signature>.")
    scheme, host, path, query = match[1].lower(), match[2].lower(), match[3], match[4]
    if scheme == "http":
        allowed = f"http://{host}" in hosts
    else:
        allowed = host in hosts or any(entry[0] == "." and host.endswith(entry) for entry in hosts)
        allowed = allowed and _HOST.fullmatch(host) is not None
    if not allowed:
        said = "https and a host" if scheme == "http" else "a host"
        raise ValueError(f"{MEMBER} must name {said} that RANKLOOP_MIRROR_HOSTS allows, without user or port.")
    account, _, container = path.rpartition("/")
    # An emulator is found by address, so its account stands in the path.
    if not _CONTAINER.fullmatch(container) or (not _ACCOUNT.fullmatch(account) if scheme == "http" else "/" in path):
        raise ValueError(f"{MEMBER} must name one container, and nothing in it.")
    _check_signature(query, now)


def _check_signature(query: str, now: float) -> None:
    given = [part.partition("=")[::2] for part in query.split("&")]
    found = {unquote(name).lower(): unquote(value) for name, value in given}
    if len(found) < len(given):
        raise ValueError(f"{MEMBER} holds a parameter twice.")
    if not found.get("sig"):
        raise ValueError(f"{MEMBER} holds no signature: sig is missing.")
    # One that goes by a stored access policy (si) need not say what it grants; writing a blob shows it.
    if not {"w", "d"} <= set(found.get("sp", "wd" if "si" in found else "")):
        raise ValueError(f"{MEMBER} must grant write and delete: sp lacks w or d.")
    for name in ("st", "se"):
        if name in found and _instant(found[name]) is None:
            raise ValueError(f"{MEMBER}: {name} must be of the form 2026-01-31T00:00:00Z.")
    ends = _instant(found["se"]) if "se" in found else None
    if ends is not None and ends <= now:
        raise ValueError(f"{MEMBER} has expired: se is past.")


def _instant(text: str) -> float | None:
    if not _INSTANT.fullmatch(text):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return None


class Mirror:
    """The mirrors of all loops.

    Args:
        blobs: hold the joined logs, and how far each mirror has come.
        counters: gets mirror.windows.
        open_container: opens what a URI names.
        hosts: where mirrors may lie; see `check_uri`.
    """

    def __init__(self, blobs: Blobs, counters: Counters, open_container: OpenContainer, hosts: Collection[str]) -> None:
        self._blobs = blobs
        self._counters = counters
        self._open = open_container
        self._hosts = hosts
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def check(self, sas_uri: str, code: str, now: float) -> None:
        """See that a mirror can be written, by writing and deleting a blob.

        Args:
            sas_uri: its container.
            code: of the refusal; versions of the API differ in it (contract 2).
            now: seconds since the epoch.

        Raises:
            ApiError: it cannot, or must not.
        """
        try:
            check_uri(sas_uri, self._hosts, now)
            async with self._open(sas_uri) as container:
                await container.put(PROBE, b"")
                await container.delete(PROBE)
        except ValueError as e:
            raise ApiError(code, str(e), MEMBER) from None
        except StorageError as e:
            message = f"{MEMBER}: writing and deleting {PROBE} in the container failed: {e}."
            raise ApiError(code, message, MEMBER) from None

    async def begin(self, loop_id: str) -> None:
        """Copy what is joined from now on; what was joined before, perhaps while the mirror was off, is left out."""
        while True:
            checkpoint, _ = await checkpoints.load(self._blobs, loop_id)
            _, etag = await self._progress(loop_id)
            try:
                await self._save(loop_id, checkpoint.watermark, etag)
                return
            except Conflict:
                continue  # a run has moved it

    async def run(self, loop_id: str, sas_uri: str, edited: float, now: float) -> None:
        """Copy what was joined since the last run.

        Args:
            loop_id: the loop.
            sas_uri: its mirror's container.
            edited: see `blob_name`.
            now: seconds since the epoch.

        Raises:
            StorageError: it cannot be written, or must not any more; the next run goes on where this one stopped.
        """
        try:
            check_uri(sas_uri, self._hosts, now)
        except ValueError as e:
            raise StorageError(str(e)) from None
        progress, etag = await self._progress(loop_id)
        if progress is None:
            return await self.begin(loop_id)
        checkpoint, _ = await checkpoints.load(self._blobs, loop_id)
        start = max(progress.through, checkpoint.since)
        if start >= checkpoint.watermark:
            return
        windows = await joined.windows(self._blobs, loop_id, start, checkpoint.watermark)
        erased = Erased(checkpoint.erasures)
        try:
            async with self._places, self._open(sas_uri) as container:
                for window in windows[:MOST]:
                    lines = await joined.read(self._blobs, loop_id, window, erased)
                    await container.put(blob_name(edited, window), b"\n".join([*lines, b""]))
                    etag = await self._save(loop_id, window.end, etag)
                    self._counters.add("mirror.windows")
            if len(windows) <= MOST:
                await self._save(loop_id, checkpoint.watermark, etag)
        except Conflict:
            return  # another run copies the same

    async def _progress(self, loop_id: str) -> tuple[Progress | None, str | None]:
        path = progress_path(loop_id)
        blob = await self._blobs.get(path)
        return (None, None) if blob is None else (documents.decode(blob.data, Progress, path), blob.etag)

    async def _save(self, loop_id: str, through: int, etag: str | None) -> str:
        return await self._blobs.put(progress_path(loop_id), msgspec.json.encode(Progress(through)), etag)
