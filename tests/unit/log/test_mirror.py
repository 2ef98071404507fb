import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.contract.errors import ApiError
from shared.counters import Counters
from shared.log import checkpoint as checkpoints
from shared.log import joined, mirror
from shared.log.checkpoint import Checkpoint
from shared.log.joined import Window
from shared.log.mirror import PROBE, Mirror, blob_name, check_uri, progress_path
from shared.storage import StorageError, Unavailable
from shared.storage.memory import MemoryBlobs, MemoryContainer, MemoryContainers
from tests.journalled import LOOP, T0, Gate, WatchedBlobs

HOSTS = (".blob.core.windows.net", "logs.example.org", "http://127.0.0.1:10000")
NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""
SECRET = "c2VjcmV0%2Bsignature%3D"
GRANTS = f"sv=2022-11-02&se=2027-02-01T00%3A00%3A00Z&sr=c&sp=rwdl&sig={SECRET}"
URI = f"https://account.blob.core.windows.net/container?{GRANTS}"
EDITED = 1_700_000_000.0
"""2023-11-14T22:13:20Z."""
FOLDER = "20231114221320/data/2023/11"


# -- the URI ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        URI,
        URI.replace("https", "HTTPS").replace("account.blob", "Account.BLOB"),
        URI.replace("account", "account.privatelink"),
        URI.replace("account.blob.core.windows.net", "logs.example.org"),
        URI.replace("container", "a1-b2-c3"),
        URI.replace("container", "c" * 63),
        URI.replace("sp=rwdl", "sp=racwdl"),
        URI.replace("sp=rwdl", "sp=wd"),
        URI.replace("sp=rwdl", "si=policy"),
        URI.replace("&se=2027-02-01T00%3A00%3A00Z", ""),
        URI.replace("%3A", ":"),
        URI.replace("&se=", "&st=2026-01-01T00:00:00Z&se="),
        URI.replace("&se=2027", "&se=9999"),
        f"http://127.0.0.1:10000/devstoreaccount1/container?{GRANTS}",
    ],
)
def test_a_container_that_may_be_written_passes(uri: str) -> None:
    check_uri(uri, HOSTS, NOW)


REFUSED = {
    "missing": ("", "is missing"),
    "no URI": ("container", "must be https://"),
    "not https": (URI.replace("https", "http"), "https and a host"),
    "another scheme": (URI.replace("https", "file"), "must be https://"),
    "no scheme": (URI.removeprefix("https:"), "must be https://"),
    "no query": (URI.partition("?")[0], "must be https://"),
    "an empty query": (URI.partition("?")[0] + "?", "must be https://"),
    "a fragment": (URI + "#x", "must be https://"),
    "a space": (URI.replace("rwdl", "rwd l"), "must be https://"),
    "a line break": (URI.replace("container", "con\ntainer"), "must be https://"),
    "a tab in the host": (URI.replace("account.", "account\t."), "must be https://"),
    "other letters": (URI.replace("account", "accöunt"), "must be https://"),
    "too long": (URI + "&x=" + "x" * 2048, "must be https://"),
    "another host": (URI.replace("account.blob.core.windows.net", "example.com"), "a host"),
    "no host": (URI.replace("account.blob.core.windows.net", ""), "must be https://"),
    "a suffix alone": (URI.replace("account.blob", "blob"), "a host"),
    "a suffix with a dot": (URI.replace("account.blob", ".blob"), "a host"),
    "two dots": (URI.replace("account.", "account.."), "a host"),
    "a longer suffix": (URI.replace("windows.net/", "windows.net.example.com/"), "a host"),
    "a part of the suffix": (URI.replace("account.blob", "account-blob"), "a host"),
    "a final dot": (URI.replace("windows.net/", "windows.net./"), "a host"),
    "a user": (URI.replace("account", "user@account"), "a host"),
    "a password": (URI.replace("account", "user:pw@account"), "a host"),
    "a host as a user": (URI.replace("windows.net/", "windows.net@example.com/"), "a host"),
    "a backslash": (URI.replace("windows.net/", "windows.net\\@example.com/"), "must be https://"),
    "an escape in the host": (URI.replace("account", "example.com%2f"), "a host"),
    "a port": (URI.replace("windows.net", "windows.net:443"), "a host"),
    "another port": (URI.replace("windows.net", "windows.net:8080"), "a host"),
    "an address": (URI.replace("account.blob.core.windows.net", "169.254.169.254"), "a host"),
    "loopback": (URI.replace("account.blob.core.windows.net", "127.0.0.1"), "a host"),
    "loopback by https": (f"https://127.0.0.1:10000/devstoreaccount1/container?{GRANTS}", "a host"),
    "another local port": (f"http://127.0.0.1:10001/devstoreaccount1/container?{GRANTS}", "a host"),
    "a local user": (f"http://x@127.0.0.1:10000/devstoreaccount1/container?{GRANTS}", "a host"),
    "an allowed host by http": (f"http://logs.example.org/account/container?{GRANTS}", "a host"),
    "no container": (URI.replace("/container", "/"), "must be https://"),
    "a blob": (URI.replace("/container", "/container/blob"), "one container"),
    "a slash at the end": (URI.replace("/container", "/container/"), "one container"),
    "a slash before": (URI.replace("/container", "//container"), "one container"),
    "an escape in the path": (URI.replace("/container", "/con%2ftainer"), "one container"),
    "a short name": (URI.replace("/container", "/co"), "one container"),
    "a long name": (URI.replace("/container", "/" + "c" * 64), "one container"),
    "capitals": (URI.replace("/container", "/Container"), "one container"),
    "two hyphens": (URI.replace("/container", "/con--tainer"), "one container"),
    "a hyphen first": (URI.replace("/container", "/-container"), "one container"),
    "the root": (URI.replace("/container", "/$root"), "one container"),
    "dots": (URI.replace("/container", "/.."), "one container"),
    "no account": (f"http://127.0.0.1:10000/container?{GRANTS}", "one container"),
    "too many parts": (f"http://127.0.0.1:10000/a/devstoreaccount1/container?{GRANTS}", "one container"),
    "read only": (URI.replace("sp=rwdl", "sp=rl"), "sp lacks"),
    "no delete": (URI.replace("sp=rwdl", "sp=rwl"), "sp lacks"),
    "no write": (URI.replace("sp=rwdl", "sp=rdl"), "sp lacks"),
    "no leave": (URI.replace("&sp=rwdl", ""), "sp lacks"),
    "no leave for a policy": (URI.replace("sp=rwdl", "si=policy&sp=r"), "sp lacks"),
    "leave twice": (URI + "&SP=rwdl", "twice"),
    "no signature": (URI.partition("&sig")[0], "sig is missing"),
    "an empty signature": (URI.replace(SECRET, ""), "sig is missing"),
    "expired": (URI.replace("&se=2027-02-01", "&se=2027-01-15").replace("T00%3A00", "T08%3A00"), "has expired"),
    "expired long ago": (URI.replace("&se=2027", "&se=1970"), "has expired"),
    "an end without seconds": (URI.replace("T00%3A00%3A00Z", "T00%3A00Z"), "se must be of the form"),
    "an end without a time": (URI.replace("T00%3A00%3A00Z", ""), "se must be of the form"),
    "an end in another zone": (URI.replace("00Z", "00%2B01:00"), "se must be of the form"),
    "an empty end": (URI.replace("2027-02-01T00%3A00%3A00Z", ""), "se must be of the form"),
    "no such day": (URI.replace("2027-02-01", "2027-02-30"), "se must be of the form"),
    "a start without seconds": (URI.replace("&se=", "&st=2026-01-01T00:00Z&se="), "st must be of the form"),
    # As the published description of the API has it: only its end is at fault.
    "the published example": (
        "https://testblob.blob.core.windows.net/container?se=2020-08-13T00%3A00Z&sp=rwld&spr=https"
        "&sv=2018-11-09&sr=c&sig=signature",
        "se must be of the form",
    ),
}


@pytest.mark.parametrize(("uri", "said"), REFUSED.values(), ids=REFUSED)
def test_any_other_is_refused_in_words_without_its_secret(uri: str, said: str) -> None:
    with pytest.raises(ValueError, match="logMirrorSasUri") as caught:
        check_uri(uri, HOSTS, NOW)

    assert said in str(caught.value)
    assert "signature%3D" not in str(caught.value)


def test_without_hosts_nothing_is_allowed() -> None:
    with pytest.raises(ValueError, match="RANKLOOP_MIRROR_HOSTS"):
        check_uri(URI, (), NOW)


# -- the container ---------------------------------------------------------------------------------------------------


class Bench:
    """A joined log and containers in memory, and the mirror between them."""

    def __init__(self) -> None:
        self.blobs, self.containers, self.counters = MemoryBlobs(), MemoryContainers(), Counters()
        self.gate: Gate | None = None
        self.written: list[str] = []
        self.fails = 0

    async def _pass(self, name: str, done: bool) -> None:
        if self.gate is not None:
            await self.gate(name, done)

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[MemoryContainer]:
        bench = self

        class Watched(MemoryContainer):
            async def put(self, name: str, data: bytes) -> None:
                if bench.fails:
                    bench.fails -= 1
                    raise Unavailable("its storage answers 403 AuthenticationFailed")
                bench.written.append(name)
                await held.put(name, data)

            async def delete(self, name: str) -> None:
                bench.written.append(f"not {name}")
                await held.delete(name)

        async with self.containers.open(url) as held:
            yield Watched()

    def mirror(self, *hosts: str) -> Mirror:
        return Mirror(WatchedBlobs(self.blobs, self._pass), self.counters, self.open, hosts or HOSTS)

    async def log(self, *starts: int, watermark: int | None = None, since: int = 0) -> None:
        """Join windows of a minute."""
        for start in starts:
            await joined.write(self.blobs, LOOP, Window(start, start + 60), "dsjson", [b'{"a":%d}' % start, b"{}"])
        _, etag = await checkpoints.load(self.blobs, LOOP)
        reached = Checkpoint(watermark=watermark or max(starts) + 60, since=since)
        await checkpoints.save(self.blobs, LOOP, reached, etag)

    async def run(self, edited: float = EDITED) -> None:
        await self.mirror().run(LOOP, URI, edited, NOW)

    async def through(self) -> int:
        blob = await self.blobs.get(progress_path(LOOP))
        assert blob
        assert b'"format":1' in blob.data
        return int(blob.data.partition(b'"through":')[2].partition(b",")[0])

    @property
    def copies(self) -> list[int]:
        return [int(name[-15:-5]) for name in sorted(self.containers.by_url[URI].blobs)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_container_is_tried_by_a_blob_that_goes_again(bench: Bench) -> None:
    await bench.mirror().check(URI, "InvalidSasUri", NOW)

    assert PROBE == "checkwritepermissions.txt"
    assert bench.written == [PROBE, f"not {PROBE}"]


@pytest.mark.parametrize("code", ["InvalidSasUri", "InvalidContainer"])
@pytest.mark.parametrize("uri", ["", URI.replace("rwdl", "r"), URI])
async def test_a_refusal_names_the_member_and_keeps_the_secret(bench: Bench, code: str, uri: str) -> None:
    bench.fails = 1
    with pytest.raises(ApiError) as caught:
        await bench.mirror().check(uri, code, NOW)

    error = caught.value
    assert (error.code, error.status, error.target) == (code, 400, "logMirrorSasUri")
    assert "logMirrorSasUri" in error.message
    assert ("403 AuthenticationFailed" in error.message) is (uri == URI)
    assert "signature" not in error.message.replace("shared access signature", "")
    assert bench.written == []


async def test_no_container_is_opened_that_is_not_allowed(bench: Bench) -> None:
    with pytest.raises(ApiError):
        await bench.mirror("elsewhere.example.org").check(URI, "InvalidSasUri", NOW)
    await bench.log(T0)
    with pytest.raises(StorageError, match="RANKLOOP_MIRROR_HOSTS"):  # the operator has changed it since
        await bench.mirror("elsewhere.example.org").run(LOOP, URI, EDITED, NOW)
    with pytest.raises(StorageError, match="is missing"):
        await bench.mirror().run(LOOP, "", EDITED, NOW)
    assert list(bench.containers.by_url) == []


# -- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edited", "start", "name"),
    [
        (EDITED, T0, f"{FOLDER}/14_1700000040.json"),
        (0.0, 86_400, "19700101000000/data/1970/01/02_0000086400.json"),
        (EDITED + 0.9, 1_893_456_000, "20231114221320/data/2030/01/01_1893456000.json"),
    ],
)
def test_a_copy_is_named_by_the_edit_and_its_window(edited: float, start: int, name: str) -> None:
    assert blob_name(edited, Window(start, start + 60)) == name


async def test_windows_that_are_joined_from_then_on_are_copied(bench: Bench) -> None:
    await bench.log(T0, T0 + 60)
    await bench.mirror().begin(LOOP)
    await bench.run()
    assert bench.copies == []

    await bench.log(T0 + 120, T0 + 180, T0 + 86_400)
    await bench.run()

    held = bench.containers.by_url[URI].blobs
    assert held[f"{FOLDER}/14_{T0 + 120}.json"] == b'{"a":%d}\n{}\n' % (T0 + 120)
    assert sorted(held) == [f"{FOLDER}/14_{T0 + 120}.json", f"{FOLDER}/14_{T0 + 180}.json",
                            f"{FOLDER}/15_{T0 + 86_400}.json"]  # fmt: skip
    assert bench.counters["mirror.windows"] == 3
    assert await bench.through() == T0 + 86_460

    await bench.run()
    assert len(bench.written) == 3
    await bench.log(T0 + 86_460)
    await bench.run(EDITED + 3600)
    assert bench.written[3:] == [f"20231114231320/data/2023/11/15_{T0 + 86_460}.json"]


async def test_a_mirror_without_a_beginning_begins_at_its_first_run(bench: Bench) -> None:
    await bench.log(T0)
    await bench.run()
    assert (bench.copies, await bench.through()) == ([], T0 + 60)


async def test_a_mirror_that_was_off_leaves_that_time_out(bench: Bench) -> None:
    await bench.mirror().begin(LOOP)
    await bench.log(T0)
    await bench.run()
    await bench.log(T0 + 60)
    await bench.mirror().begin(LOOP)
    await bench.log(T0 + 120)
    await bench.run()

    assert bench.copies == [T0, T0 + 120]


async def test_a_time_without_windows_is_passed(bench: Bench) -> None:
    await bench.mirror().begin(LOOP)
    await bench.log(T0, watermark=T0 + 900_000)
    await bench.run()
    assert await bench.through() == T0 + 900_000


async def test_what_is_deleted_is_not_copied(bench: Bench) -> None:
    await bench.mirror().begin(LOOP)
    await bench.log(T0, T0 + 60, T0 + 120, since=T0 + 60)
    await bench.run()
    assert bench.copies == [T0 + 60, T0 + 120]


async def test_a_failure_is_made_up_for_by_a_later_run(bench: Bench) -> None:
    await bench.mirror().begin(LOOP)
    await bench.log(T0, T0 + 60, T0 + 120)
    bench.fails = 1
    with pytest.raises(Unavailable, match="403"):
        await bench.run()

    await bench.run()

    assert bench.copies == [T0, T0 + 60, T0 + 120]


@pytest.mark.parametrize("n", range(8))
async def test_a_run_that_is_cut_off_is_repeated_and_copies_the_same(bench: Bench, n: int) -> None:
    await bench.mirror().begin(LOOP)
    await bench.log(T0, T0 + 60, T0 + 120)
    count = 0

    async def gate(name: str, done: bool) -> None:
        nonlocal count
        count += done
        if count == n + 1:
            raise KeyboardInterrupt

    bench.gate = gate
    with pytest.raises(KeyboardInterrupt):
        await bench.run()
    bench.gate = None
    await bench.run()

    assert bench.copies == [T0, T0 + 60, T0 + 120]
    assert await bench.through() == T0 + 180


async def test_a_run_copies_so_many_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setattr(mirror, "MOST", 2)
    await bench.mirror().begin(LOOP)
    await bench.log(*(T0 + 60 * n for n in range(5)), watermark=T0 + 600)
    reached = []
    for _ in range(3):
        await bench.run()
        reached.append((len(bench.copies), await bench.through()))
    assert reached == [(2, T0 + 120), (4, T0 + 240), (5, T0 + 600)]


async def test_rivals_copy_the_same(bench: Bench) -> None:
    await bench.mirror().begin(LOOP)
    await bench.log(*(T0 + 60 * n for n in range(5)))

    async def gate(name: str, done: bool) -> None:
        await asyncio.sleep(0)

    bench.gate = gate
    await asyncio.gather(*(bench.run() for _ in range(3)))
    await bench.run()

    assert bench.copies == [T0 + 60 * n for n in range(5)]
    assert await bench.through() == T0 + 300


async def test_a_beginning_that_meets_a_run_comes_after_it(bench: Bench) -> None:
    await bench.mirror().begin(LOOP)
    await bench.log(T0)
    raced = False

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name == f"put {progress_path(LOOP)}" and not done and not raced:
            raced = True
            await bench.run()

    bench.gate = gate
    await bench.mirror().begin(LOOP)

    assert bench.copies == [T0]
    assert await bench.through() == T0 + 60


async def test_nothing_of_the_secret_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await bench.mirror().begin(LOOP)
    await bench.log(T0)
    bench.fails = 2
    for call in (bench.mirror().check(URI, "InvalidSasUri", NOW), bench.run()):
        with pytest.raises((ApiError, StorageError)) as caught:
            await call
        assert SECRET not in repr(caught.value)
    assert SECRET not in caplog.text
