"""One replica of the injector, in this process, on ports of its own, and what asks it."""

import asyncio
import contextlib
import io
import json
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.harness.wait import within
from tests.injector.fake_cluster import FakeCluster
from thoughtgate_injector.app import Injector
from thoughtgate_injector.core import names
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.webhook.config_check import ConfigChecker

SERVICE = "thoughtgate-injector.thoughtgate-system.svc"


@dataclass
class Replica:
    """A running injector and a client that trusts what the webhook configuration says."""

    injector: Injector
    fake: FakeCluster
    session: aiohttp.ClientSession
    task: "asyncio.Task[None]"
    stop: asyncio.Event

    async def post(self, path: str, body: bytes) -> tuple[int, str, aiohttp.ClientResponse]:
        """Ask over TLS as the API server does: by the Service's name, with the caBundle."""
        bundle = self.fake.bundles()[0]
        assert bundle is not None
        context = ssl.create_default_context(cadata=b64decode(bundle).decode())
        url = f"https://127.0.0.1:{self.injector.bound[0]}{path}"
        async with self.session.post(
            url, data=io.BytesIO(body), ssl=context, server_hostname=SERVICE
        ) as response:
            return response.status, await response.text(), response

    async def review(
        self, pod: dict[str, Any], entry: str = "pod", **fields: Any
    ) -> dict[str, Any]:
        status, text, _ = await self.post(
            f"/inject/{entry}", json.dumps(review(pod, **fields)).encode()
        )
        assert status == 200, text
        answer: dict[str, Any] = json.loads(text)["response"]
        return answer

    async def get(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.injector.bound[1]}{path}"
        async with self.session.get(url) as response:
            return response.status, await response.text()

    async def ready(self) -> None:
        await until(lambda: not self.injector.health.missing())


def review(pod: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Give an AdmissionReview as the API server sends it for a new pod."""
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "default",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod,
            "oldObject": None,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            **fields,
        },
    }


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    await within(condition, "what the injector should do")


@contextlib.asynccontextmanager
async def replica(fake: FakeCluster, drain: float = 0.0) -> AsyncIterator[Replica]:
    """Run an injector against a fake cluster that is listening; stopped at the end."""
    injector = Injector(
        Settings(),
        fake.kube(),
        names.NAMESPACE,
        "0.2.0",
        host="127.0.0.1",
        port=0,
        health_port=0,
        drain=drain,
        checker=ConfigChecker(limit=60),  # the machine may be busy
    )
    stop = asyncio.Event()
    task = asyncio.create_task(injector.operate(stop))
    try:
        # The client is made before the operator's tasks, which kopf tells by their age.
        async with aiohttp.ClientSession() as session:
            yield Replica(injector, fake, session, task, stop)
    finally:
        stop.set()
        await task
