"""Pods created at a steady pace, of which the API server keeps none (`dryRun=All`).

Each goes the whole way of admission, webhooks included, and costs no kubelet and no disk.
"""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.cluster.cluster import Cluster

LONGEST = 180.0  # seconds; a load that nobody ends ends itself
# A machine that others use too may be too slow for the pace: then fewer, not an endless queue.
MOST_IN_FLIGHT = 40


@dataclass(frozen=True)
class Created:
    """What became of one creation."""

    began: float
    """Seconds, of `time.monotonic`."""
    seconds: float
    status: int
    """HTTP's; 0 where the API server itself did not answer."""
    words: str
    """Why it was refused."""


@dataclass
class Load:
    """The creations so far; whoever reads takes a copy, since the list grows meanwhile."""

    created: list[Created] = field(default_factory=list)
    left_out: int = 0
    """How often the machine was too slow for one more."""

    def refused(self, since: float = 0) -> list[str]:
        return [
            f"{one.status} {one.words}"
            for one in list(self.created)
            if one.status != 201 and one.began >= since
        ]

    def await_created(self, number: int, limit: float = 60) -> None:
        """Wait for so many more, so that there is no doubt that there were any."""
        wanted, deadline = len(self.created) + number, time.monotonic() + limit
        while len(self.created) < wanted:
            assert time.monotonic() < deadline, f"no {number} creations within {limit:.0f} s"
            time.sleep(0.05)  # the pace of asking


def agent(**spec: object) -> dict[str, Any]:
    """A small pod that opts in."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "load-",
            "labels": {"app": "load", "team": "tests"},
            "annotations": {"thoughtgate.io/inject": "true"},
        },
        "spec": {"containers": [{"name": "agent", "image": "localhost/none"}], **spec},
    }


@contextmanager
def creating(
    cluster: Cluster, namespace: str, per_second: float, pod: dict[str, Any] | None = None
) -> Iterator[Load]:
    """Create pods at this pace until the end of the block, whatever the answers take."""
    load, stop = Load(), threading.Event()
    body = json.dumps(pod or agent()).encode()
    target = (_create, cluster, namespace, per_second, body, load, stop)
    thread = threading.Thread(target=lambda: asyncio.run(target[0](*target[1:])))
    thread.start()
    try:
        yield load
    finally:
        stop.set()
        thread.join()


async def _create(
    cluster: Cluster,
    namespace: str,
    per_second: float,
    body: bytes,
    load: Load,
    stop: threading.Event,
) -> None:
    url = f"{cluster.api_server}/api/v1/namespaces/{namespace}/pods?dryRun=All"
    connector = aiohttp.TCPConnector(ssl=cluster.tls(), limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        began = time.monotonic()
        number = 0
        in_flight: set[asyncio.Task[None]] = set()
        while not stop.is_set() and time.monotonic() < began + LONGEST:
            if len(in_flight) < MOST_IN_FLIGHT:
                task = group.create_task(_one(session, url, body, load))
                in_flight.add(task)
                task.add_done_callback(in_flight.discard)
            else:
                load.left_out += 1
            number += 1
            # By the clock, not by pauses: an answer that is late must not slow the load down.
            await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))


async def _one(session: aiohttp.ClientSession, url: str, body: bytes, load: Load) -> None:
    began = time.monotonic()
    status, words = 0, ""
    try:
        headers = {"Content-Type": "application/json"}
        async with session.post(url, data=body, headers=headers) as response:
            said = await response.read()
            status = response.status
            if status != 201:
                words = str(json.loads(said).get("message"))
    except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
        words = repr(error)
    load.created.append(Created(began, time.monotonic() - began, status, words))
