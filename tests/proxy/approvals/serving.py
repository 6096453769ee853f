"""The page with a docket in memory, over real HTTP, and a client that says every header itself."""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import aiohttp

from tests.proxy.approvals.docket import MemoryDocket
from thoughtgate_proxy.approvals.page import Page
from thoughtgate_proxy.approvals.tokens import Approvers, Reading
from thoughtgate_proxy.listeners.approvals_page import bound
from thoughtgate_proxy.listeners.inbound import Inbound
from thoughtgate_proxy.process_settings import LOOPBACK
from thoughtgate_proxy.telemetry.log import Level, Log

ANNA = "anna-5f0c2f9b1e7d4a68"
BEN = "ben-91d7c3a50b2e4f6688"
WHOSE = {
    "principal": "data-engineering/my-agent",
    "namespace": "my-namespace",
    "pod": "my-agent-7f9c4",
}


class Lines(Log):
    """A log that keeps its lines."""

    def __init__(self) -> None:
        super().__init__(time.time)
        self.lines: list[dict[str, Any]] = []

    def always(self, message: str, level: Level = Level.INFO, **facts: Any) -> None:
        """Keep a line."""
        self.lines.append({"message": message, "level": level, **facts})

    def said(self, message: str) -> list[dict[str, Any]]:
        """The lines with that message."""
        return [line for line in self.lines if line["message"] == message]


@dataclass
class Answer:
    """A reply; `json` is None where the body is none."""

    status: int
    headers: Mapping[str, str]
    json: Any
    text: str
    cookie: str = ""


class Served:
    """A page that is served, and what stands behind it."""

    def __init__(self, folder: Path, docket: MemoryDocket) -> None:
        self.docket, self.log = docket, Lines()
        self.tokens = folder / "approver-tokens"
        self.tokens.write_text(f"# who may decide\nanna:{ANNA}\nben:{BEN}\n")
        self.read: list[Reading] = []
        self.approvers = Approvers(self.tokens, self.read.append)
        self.page = Page(docket, self.approvers, lambda: docket.now)
        docket.asking = self.page
        self.inbound = Inbound(self.page, self.approvers, self.log, WHOSE)
        self.port = 0

    @property
    def url(self) -> str:
        """Where people open it."""
        return f"http://localhost:{self.port}"

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
        """A vote on the call as the docket has it."""
        kept = self.docket.find(id)
        body = {"verdict": verdict, "digest": digest or (kept.call.digest if kept else "")}
        return await self.ask("POST", f"/api/v1/approvals/{id}/votes", body, **options)


@contextlib.asynccontextmanager
async def served(folder: Path, now: float | None = None) -> AsyncIterator[Served]:
    """A page on a free port."""
    world = Served(folder, MemoryDocket(time.time() if now is None else now))
    sockets = bound(LOOPBACK, 0)
    world.port = sockets[0].getsockname()[1]
    await world.inbound.start(sockets)
    try:
        yield world
    finally:
        await world.inbound.close()
