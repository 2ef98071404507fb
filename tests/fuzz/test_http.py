"""Documents through a real HTTP server, odd bytes in their heads and all: none gets a 5xx there, and it lives on.

The first documents of `make fuzz` are sent, less most of those that take a second by design.
"""

from __future__ import annotations

import random
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import pytest

from shared.edge import configurations, erasures, logs
from shared.loops.policy import Problem
from tests.contract.conftest import KEY as DEPLOYMENT_KEY
from tests.contract.conftest import Deployment, Instance, deployment
from tests.fuzz.documents import KEY, Document, document
from tests.fuzz.policies import ARGUMENTS, POLICIES
from tests.fuzz.test_fuzz import SEED, write_down

DOCUMENTS = 2000
PATIENCE = 60.0
"""Seconds; only a hang takes so long."""
UNFINISHED = 2.0
"""The same for a request whose head may promise more than comes: the server is right to wait for the rest."""
_SLOW = (configurations.put_policy, logs.delete_logs, erasures.erase_event, erasures.erase_subject)
_LOOP = re.compile(r"loops/(\w+)/")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


class Answer(NamedTuple):
    """One response: its status, or 0 where the connection was closed without one, and its head."""

    status: int
    head: bytes


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment with the loops `pairs`, `slots` and `scratch`."""
    with deployment(tmp_path_factory.mktemp("fuzzed")) as running:
        for name in ("pairs", "slots", "scratch"):
            assert running.decoded.call("POST", "/rankloop/v1/loops", {"name": name}).status == 201
        path = "/loops/slots/personalizer/v1.1-preview.3/configurations"
        held = running.decoded.call("GET", f"{path}/service").json
        running.decoded.call("PUT", f"{path}/service", {**held, "isAutoOptimizationEnabled": False})
        answer = running.decoded.call("PUT", f"{path}/policy", {"name": "slots", "arguments": ARGUMENTS["slots"]})
        assert answer.status == 200
        yield running


def spelled(r: random.Random, made: Document) -> tuple[bytes, bool]:
    """The bytes of a request, and whether it is certain that they are all of it."""
    path = _LOOP.sub(_served_loop, made.path, 1)
    kept = r.choice(("/", "/", "/", "", "/?#%", "/ \\"))
    target = "/" + quote(path.encode("utf-8", "surrogatepass"), safe=kept)
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in made.query.items())
    lines = [f"{made.method} {target}{'?' if query else ''}{query} HTTP/1.1", "Connection: close"]
    headers = {name: DEPLOYMENT_KEY if value == KEY else value for name, value in made.headers.items()}
    headers = {"host": "127.0.0.1", "content-length": str(len(made.body)), **headers}
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n"
    whole = made.headers.keys().isdisjoint(("content-length", "transfer-encoding")) and made.method != "CONNECT"
    if r.random() < 0.05:
        whole = False
        at = r.randrange(len(head))
        head = head[:at] + r.choice((b"\0", b"\xff", b"\n", b"\r", b"\r\n\r\n", b" ", b":", b"\x80" * 100)) + head[at:]
    return head + made.body, whole


def _served_loop(found: re.Match[str]) -> str:
    held = POLICIES.get(found[1])
    if held is None:
        return found[0]
    return "loops/slots/" if held.problem is Problem.MULTI_SLOT else "loops/pairs/"


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"))


def send(instance: Instance, data: bytes, whole: bool) -> Answer:
    """Send bytes, and read what comes until the connection is closed."""
    address = urlsplit(instance.endpoint)
    with socket.create_connection(
        (address.hostname, address.port or 0), PATIENCE if whole else UNFINISHED
    ) as connection:
        received = b""
        try:
            connection.sendall(data)
            while len(received) < 100_000 and (chunk := connection.recv(65_536)):
                received += chunk
        except ConnectionError:
            pass  # the server need not read what it has refused
        except TimeoutError:
            assert not whole, "the server hangs"
    head = received.partition(b"\r\n\r\n")[0]
    found = _STATUS.match(head)
    return Answer(int(found[1]) if found else 0, head)


def test_no_document_gets_a_5xx_over_http(deployed: Deployment) -> None:
    numbers = [n for n in range(DOCUMENTS) if document(SEED, n).route.operation not in _SLOW or n % 20 == 0]
    instances = (deployed.decoded, deployed.kept)

    def answered(number: int) -> Answer:
        made = document(SEED, number)
        for _ in range(5):
            answer = send(instances[number % 2], *spelled(random.Random(number), made))
            # A busy storage may be late: such an answer asks to be called again.
            if answer.status != 503 or b"retry-after" not in answer.head.lower():
                break
        return answer

    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(numbers, pool.map(answered, numbers), strict=True))

    statuses = Counter(answer.status for answer in answers.values())
    print(dict(statuses))  # shown by pytest -s
    wrong = {n: answer for n, answer in answers.items() if answer.status >= 500}
    told = [f"document {n} of seed {SEED}, {write_down(n)}: {a.head[:300]!r}" for n, a in sorted(wrong.items())[:20]]
    assert not wrong, "\n".join(told)
    assert min(statuses[status] for status in (200, 201, 204, 400, 401, 404)) >= 20
    assert statuses[0] < len(numbers) / 10
    for instance in instances:
        assert instance.call("GET", "/rankloop/v1/health").status == 200
        assert instance.process.poll() is None
