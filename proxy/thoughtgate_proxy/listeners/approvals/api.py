"""Port 7468: the approvals page and its API, for people who come by port-forward.

Bound to loopback, where the agent is too: nothing but the page's own files is given without a
token or a session, and nothing is done for another site's page.
"""

import asyncio
import hashlib
import logging
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import orjson
from aiohttp import web

from thoughtgate_proxy.approvals.channels.page.channel import NotFound, PageChannel, VoteRefused
from thoughtgate_proxy.approvals.channels.page.tokens import Approver, Approvers
from thoughtgate_proxy.core.approval import VoteValue
from thoughtgate_proxy.listeners.approvals.guard import (
    MOST_BODY_BYTES,
    ApiRefused,
    Guard,
    Handler,
    harden,
    json_reply,
    read_body,
)
from thoughtgate_proxy.listeners.approvals.sessions import SESSION_SECONDS, Guesses, Sessions
from thoughtgate_proxy.telemetry.log import Level, Log

API: Final = "/api/v1"
KEY_HEADER: Final = "X-ThoughtGate-Key"
LONGEST_WAIT: Final = 25
_FILES: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_IDLE_SECONDS = 75.0
_MOST_WAITING = 64
_MOST_CONNECTIONS = 256


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /session`."""

    token: Annotated[str, msgspec.Meta(max_length=1000)]


class VoteBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /approvals/ID/votes`: `digest` says which call was seen."""

    verdict: VoteValue
    digest: str
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class ApprovalsApi:
    """The page's files and API, for a pod whose sessions have a cookie of its own name."""

    def __init__(
        self, page: PageChannel, approvers: Approvers, log: Log, pod: Mapping[str, str | None]
    ) -> None:
        """`pod` has its principal, namespace and name, for people to see whose page it is."""
        self._page, self._approvers, self._log, self._pod = page, approvers, log, dict(pod)
        self._sessions = Sessions(approvers, time.monotonic)
        self._guesses = Guesses(time.monotonic)
        self._waiting = 0
        self._servers: list[asyncio.Server] = []
        # Browsers keep one jar for all ports of localhost, and a person may look at many pods.
        name = hashlib.sha256(orjson.dumps(self._pod, option=orjson.OPT_SORT_KEYS)).hexdigest()
        self._cookie = f"thoughtgate-{name[:12]}"
        app = web.Application(middlewares=[Guard(log).check], client_max_size=MOST_BODY_BYTES)
        app.on_response_prepare.append(harden)
        app.add_routes(
            [
                web.get(f"{API}/approvals", self._list),
                web.get(f"{API}/approvals/{{id}}", self._show),
                web.post(f"{API}/approvals/{{id}}/votes", self._vote),
                web.post(f"{API}/session", self._sign_in),
                web.delete(f"{API}/session", self._sign_out),
                *(web.get(path, _static(body, kind)) for path, body, kind in _files()),
            ]
        )
        silent = logging.Logger("silent")  # noqa: LOG001  it is for nobody else to find
        silent.addHandler(logging.NullHandler())
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=_IDLE_SECONDS,
            shutdown_timeout=1.0,
            auto_decompress=False,
            # What a client sends is not for standard error; what we get wrong is logged below.
            logger=silent,
        )

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on those, which are bound; they are closed in the end."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._servers = [await loop.create_server(self._connection, sock=one) for one in sockets]

    async def close(self) -> None:
        """Stop listening, and answer the views that wait."""
        for server in self._servers:
            server.close()
        self._page.wake()
        await self._runner.cleanup()

    def _connection(self) -> asyncio.Protocol:
        server = self._runner.server
        # The agent can open as many as it likes, and each takes memory that the gate needs.
        if server is None or len(server.connections) >= _MOST_CONNECTIONS:
            return _Full()
        return server()

    def _approver(self, request: web.Request) -> Approver:
        """Who asks: by a token, or by a session's cookie and key. Raises `ApiRefused`."""
        authorization = request.headers.get("Authorization")
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise _unauthorized("allowed is `Authorization: Bearer` with an approver's token")
            return self._by_token(token.strip())
        cookie = request.cookies.get(self._cookie, "")
        approver = self._sessions.approver(cookie, request.headers.get(KEY_HEADER, ""))
        if approver is None:
            raise _unauthorized("sign in with an approver's token")
        return approver

    def _by_token(self, token: str) -> Approver:
        if wait := self._guesses.wait():
            message = "too many wrong tokens were tried: wait a little"
            raise ApiRefused(429, "guessing", message, {"Retry-After": str(int(wait) + 1)})
        approver = self._approvers.named(token)
        if approver is None:
            self._guesses.wrong()
            self._log.event("a wrong token was tried on the approvals page", Level.WARNING)
            raise _unauthorized("this is no approver's token")
        return approver

    async def _sign_in(self, request: web.Request) -> web.Response:
        body = await read_body(request, SignIn)
        approver = self._by_token(body.token)
        cookie, key = self._sessions.open(approver)
        self._log.event("signed in to the approvals page", approver=approver.name)
        response = json_reply({"you": approver.name, "key": key}, 201)
        response.set_cookie(
            self._cookie, cookie, max_age=int(SESSION_SECONDS), path="/", httponly=True,
            samesite="Strict",
        )  # fmt: skip
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        self._approver(request)
        self._sessions.close(request.cookies.get(self._cookie, ""))
        response = web.Response(status=204)
        response.del_cookie(self._cookie, path="/", httponly=True, samesite="Strict")
        return response

    async def _list(self, request: web.Request) -> web.Response:
        self._approver(request)
        wait = request.query.get("wait", "0")
        if not (wait.isascii() and wait.isdecimal() and int(wait) <= LONGEST_WAIT):
            message = f"wait: `{wait[:20]}`, allowed are whole seconds up to {LONGEST_WAIT}"
            raise ApiRefused(400, "bad_request", message)
        if int(wait):
            await self._wait(request.query.get("after", ""), int(wait))
        # Asked again: the token may have left the file meanwhile.
        listing = self._page.listing(self._approver(request))
        return json_reply({"whose": self._pod, **listing})

    async def _wait(self, version: str, seconds: int) -> None:
        if self._waiting >= _MOST_WAITING:
            message = f"{_MOST_WAITING} views wait already"
            raise ApiRefused(503, "too_many_views", message, {"Retry-After": "5"})
        self._waiting += 1
        try:
            await self._page.newer(version, seconds)
        finally:
            self._waiting -= 1

    async def _show(self, request: web.Request) -> web.Response:
        approver = self._approver(request)
        try:
            return json_reply(await self._page.details(request.match_info["id"], approver))
        except NotFound as error:
            raise ApiRefused(404, error.code, error.reason) from error

    async def _vote(self, request: web.Request) -> web.Response:
        approver = self._approver(request)
        body = await read_body(request, VoteBody)
        vote = self._page.vote(
            request.match_info["id"], body.digest, approver, body.verdict, body.reason.strip()
        )
        try:
            # Counted whole, whether or not the browser stays for the answer.
            return json_reply(await asyncio.shield(vote))
        except VoteRefused as error:
            status = {"not_found": 404, "not_yours": 403, "not_kept": 503}.get(error.code, 409)
            raise ApiRefused(status, error.code, error.reason) from error


class _Full(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _unauthorized(reason: str) -> ApiRefused:
    return ApiRefused(401, "unauthorized", reason, {"WWW-Authenticate": "Bearer"})


def _files() -> list[tuple[str, bytes, str]]:
    """The page's own files: path, content, and content type."""
    return [
        ("/" + file.name.replace("index.html", ""), file.read_bytes(), _TYPES[file.suffix])
        for file in sorted(_FILES.iterdir())
        if file.suffix in _TYPES
    ]


def _static(content: bytes, kind: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=content, headers={"Content-Type": kind})

    return answer
