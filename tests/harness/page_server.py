"""The page with the fake queue, over real HTTP, and a client that says every header itself."""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness.clock import ManualClock
from tests.harness.fake_queue import FakeQueue
from tests.harness.log import Lines
from thoughtgate_proxy.approvals.channels.page.channel import PageChannel
from thoughtgate_proxy.approvals.channels.page.tokens import Approvers, Reading
from thoughtgate_proxy.core.approval import Approval, Asked, Call
from thoughtgate_proxy.core.config.values import Kind, Workflow
from thoughtgate_proxy.listeners.approvals.api import ApprovalsApi
from thoughtgate_proxy.listeners.sockets import bound
from thoughtgate_proxy.runtime.settings import LOOPBACK

ANNA = "anna-5f0c2f9b1e7d4a68"
BEN = "ben-91d7c3a50b2e4f6688"
WHOSE = {
    "principal": "data-engineering/my-agent",
    "namespace": "my-namespace",
    "pod": "my-agent-7f9c4",
}


@dataclass
class Answer:
    """A reply; `json` is None where the body is none."""

    status: int
    headers: Mapping[str, str]
    json: Any
    text: str
    cookie: str = ""


async def never_served(_: PageChannel) -> None:
    """Where a test serves the page by itself."""
    await asyncio.Event().wait()


class Served:
    """A page that is served, and what stands behind it."""

    def __init__(self, folder: Path, now: float) -> None:
        self.clock, self.log = ManualClock(now), Lines()
        workflows = {"default": Workflow(adapter="page")}
        self.queue = FakeQueue("page", workflows, self.clock)
        self._opened = 0
        self.tokens = folder / "approver-tokens"
        self.tokens.write_text(f"# who may decide\nanna:{ANNA}\nben:{BEN}\n")
        self.read: list[Reading] = []
        self.approvers = Approvers(self.tokens, self.read.append)
        self.page = PageChannel(self.queue, self.approvers, self.clock.now, never_served, self.log)
        self.queue.attach(self.page)
        self.inbound = ApprovalsApi(self.page, self.approvers, self.log, WHOSE)
        self.port = 0

    @property
    def url(self) -> str:
        """Where people open it."""
        return f"http://localhost:{self.port}"

    async def open(
        self,
        name: str = "delete_user",
        arguments: dict[str, Any] | bytes | None = None,
        *,
        id: str | None = None,
        lasts: float = 600.0,
        required: int = 1,
        **asked: Any,
    ) -> Approval:
        """A new request for approval of that call; `asked` goes into `Asked`."""
        given = {"user_id": "u-1029"} if arguments is None else arguments
        text = given if isinstance(given, bytes) else json.dumps(given).encode()
        params = b'{"name":%b,"arguments":%b}' % (json.dumps(name).encode(), text)
        body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%b}' % params
        self._opened += 1
        facts: dict[str, Any] = {
            "workflow": "default",
            "adapter": "page",
            "reason": f"rule 0 (`delete_*`) asks a human about `{name}`",
            "gate": "rules",
            "rule": 0,
            "match": "delete_*",
            "description": "Deletes a user for good.",
            "namespace": "my-namespace",
            "pod": "my-agent-7f9c4",
            "correlation": f"5d1c0e2a{self._opened:08x}",
        }
        return await self.queue.open(Approval(
            id=id or hashlib.sha256(b"%d" % self._opened).hexdigest()[:24],
            call=Call(
                principal="data-engineering/my-agent", source="upstream",
                method="tools/call", kind=Kind.TOOL, name=name, target="/", body=body,
                digest=hashlib.sha256(body).hexdigest(),
            ),
            asked=Asked(**{**facts, **asked}),
            opened=self.clock.now(), expires=self.clock.now() + lasts, required=required,
        ))  # fmt: skip

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = ANNA,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Answer:
        """One request on a connection of its own; `token` goes as bearer."""
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        sent |= headers or {}
        options: dict[str, Any] = {"data": data} if data is not None else {}
        if body is not None:
            options["json"] = body
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
            client.request(method, f"{self.url}{path}", headers=sent, **options) as reply,
        ):
            text = await reply.text()
            plain = reply.content_type == "application/json" and text
            cookies = SimpleCookie(reply.headers.get("Set-Cookie", ""))
            cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())
            return Answer(
                reply.status, reply.headers, await reply.json() if plain else None, text, cookie
            )

    async def sign_in(self, token: str = ANNA) -> dict[str, str]:
        """The headers of a session."""
        answer = await self.ask("POST", "/api/v1/session", {"token": token}, token=None)
        assert answer.status == 201, answer.text
        return {"Cookie": answer.cookie, "X-ThoughtGate-Key": answer.json["key"]}

    async def vote(
        self, id: str, verdict: str = "approve", *, digest: str | None = None, **options: Any
    ) -> Answer:
        """A vote on the call as the queue has it."""
        kept = self.queue.find(id)
        body = {"verdict": verdict, "digest": digest or (kept.call.digest if kept else "")}
        return await self.ask("POST", f"/api/v1/approvals/{id}/votes", body, **options)


@contextlib.asynccontextmanager
async def served(folder: Path, now: float | None = None) -> AsyncIterator[Served]:
    """A page on a free port."""
    world = Served(folder, time.time() if now is None else now)
    sockets = bound(LOOPBACK, 0)
    world.port = sockets[0].getsockname()[1]
    await world.inbound.start(sockets)
    try:
        yield world
    finally:
        await world.inbound.close()
