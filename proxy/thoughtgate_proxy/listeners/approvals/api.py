"""Port 7468: the approvals page and its API, for people who come by port-forward.

Bound to loopback, where the agent is too: nothing but the page's own files is given without a
token or a session, and nothing is done for another site's page.
"""

import asyncio
import hashlib
import logging
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
import orjson
from aiohttp import web

from thoughtgate_proxy.approvals.channels.page.channel import NotFound, PageChannel, VoteRefused
from thoughtgate_proxy.approvals.channels.page.tokens import Approver, Approvers
from thoughtgate_proxy.core.approval import VoteValue
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
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    # Even by mistake no script of ours can make HTML of a text.
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# A page of another site may have let its own name point here; a port-forward's port may be any.
_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_MOST_BODY = 1 << 14
_BODY_SECONDS = 10.0
_IDLE_SECONDS = 75.0
_MOST_WAITING = 64
_MOST_CONNECTIONS = 256

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_T = TypeVar("_T")


class ApiRefused(Exception):
    """A request that is refused; `code` is for programs, `reason` one line for people."""

    def __init__(
        self, status: int, code: str, reason: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason, self.headers = status, code, reason, headers


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /session`."""

    token: Annotated[str, msgspec.Meta(max_length=1000)]


class VoteBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /approvals/ID/votes`: `digest` says which call was seen."""

    verdict: VoteValue
    digest: str
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class Inbound:
    """The listener. Whoever is told apart by `whose` gets a cookie of its own name."""

    def __init__(
        self, page: PageChannel, approvers: Approvers, log: Log, whose: Mapping[str, str | None]
    ) -> None:
        """`whose` are the principal, namespace and pod, for people to see whose page it is."""
        self._page, self._approvers, self._log, self._whose = page, approvers, log, dict(whose)
        self._sessions = Sessions(approvers, time.monotonic)
        self._guesses = Guesses(time.monotonic)
        self._waiting = 0
        self._servers: list[asyncio.Server] = []
        # Browsers keep one jar for all ports of localhost, and a person may look at many pods.
        told = orjson.dumps(self._whose, option=orjson.OPT_SORT_KEYS)
        self._cookie = f"thoughtgate-{hashlib.sha256(told).hexdigest()[:12]}"
        app = web.Application(middlewares=[self._guard], client_max_size=_MOST_BODY)
        app.on_response_prepare.append(_harden)
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

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _check_origin(request)
            return await handler(request)
        except ApiRefused as refused:
            return _error(refused.status, refused.code, refused.reason, refused.headers)
        except web.HTTPRequestEntityTooLarge:
            return _error(413, "too_large", f"the body has more than {_MOST_BYTES_TEXT}")
        except web.HTTPException as error:
            code = HTTPStatus(error.status).name.lower()
            allow = error.headers.get("Allow")
            return _error(
                error.status, code, error.reason.lower(), {"Allow": allow} if allow else None
            )
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001  nothing of it may be said to whoever asks
            kind = type(error).__name__
            self._log.event("the approvals page failed", Level.ERROR, error=kind, at=request.path)
            return _error(500, "internal", "ThoughtGate failed at this; its log says more")

    def _who(self, request: web.Request) -> Approver:
        """Who asks: by a token, or by a session's cookie and key. Raises `ApiRefused`."""
        authorization = request.headers.get("Authorization")
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise _unauthorized("allowed is `Authorization: Bearer` with an approver's token")
            return self._named(token.strip())
        cookie = request.cookies.get(self._cookie, "")
        approver = self._sessions.approver(cookie, request.headers.get(KEY_HEADER, ""))
        if approver is None:
            raise _unauthorized("sign in with an approver's token")
        return approver

    def _named(self, token: str) -> Approver:
        if wait := self._guesses.wait():
            told = "too many wrong tokens were tried: wait a little"
            raise ApiRefused(429, "guessing", told, {"Retry-After": str(int(wait) + 1)})
        approver = self._approvers.named(token)
        if approver is None:
            self._guesses.wrong()
            self._log.event("a wrong token was tried on the approvals page", Level.WARNING)
            raise _unauthorized("this is no approver's token")
        return approver

    async def _sign_in(self, request: web.Request) -> web.Response:
        body = await _body(request, SignIn)
        approver = self._named(body.token)
        cookie, key = self._sessions.open(approver)
        self._log.event("signed in to the approvals page", approver=approver.name)
        response = _json({"you": approver.name, "key": key}, 201)
        response.set_cookie(
            self._cookie, cookie, max_age=int(SESSION_SECONDS), path="/", httponly=True,
            samesite="Strict",
        )  # fmt: skip
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        self._who(request)
        self._sessions.close(request.cookies.get(self._cookie, ""))
        response = web.Response(status=204)
        response.del_cookie(self._cookie, path="/", httponly=True, samesite="Strict")
        return response

    async def _list(self, request: web.Request) -> web.Response:
        self._who(request)
        wait = request.query.get("wait", "0")
        if not (wait.isascii() and wait.isdecimal() and int(wait) <= LONGEST_WAIT):
            told = f"wait: `{wait[:20]}`, allowed are whole seconds up to {LONGEST_WAIT}"
            raise ApiRefused(400, "bad_request", told)
        if int(wait):
            await self._wait(request.query.get("after", ""), int(wait))
        # Asked again: the token may have left the file meanwhile.
        listing = self._page.listing(self._who(request))
        return _json({"whose": self._whose, **listing})

    async def _wait(self, version: str, seconds: int) -> None:
        if self._waiting >= _MOST_WAITING:
            told = f"{_MOST_WAITING} views wait already"
            raise ApiRefused(503, "too_many_views", told, {"Retry-After": "5"})
        self._waiting += 1
        try:
            await self._page.newer(version, seconds)
        finally:
            self._waiting -= 1

    async def _show(self, request: web.Request) -> web.Response:
        who = self._who(request)
        try:
            return _json(await self._page.details(request.match_info["id"], who))
        except NotFound as error:
            raise ApiRefused(404, error.code, error.reason) from error

    async def _vote(self, request: web.Request) -> web.Response:
        who = self._who(request)
        body = await _body(request, VoteBody)
        vote = self._page.vote(
            request.match_info["id"], body.digest, who, body.verdict, body.reason.strip()
        )
        try:
            # Counted whole, whether or not the browser stays for the answer.
            return _json(await asyncio.shield(vote))
        except VoteRefused as error:
            status = {"not_found": 404, "not_yours": 403, "not_kept": 503}.get(error.code, 409)
            raise ApiRefused(status, error.code, error.reason) from error


class _Full(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


_MOST_BYTES_TEXT: Final = f"{_MOST_BODY} bytes"


def _check_origin(request: web.Request) -> None:
    """Refuse what another site's page, or a name that points here, made a browser send."""
    host = request.headers.get("Host", "")
    if not _HOST.fullmatch(host):
        told = "open the page as http://localhost:PORT (kubectl port-forward), by no other name"
        raise ApiRefused(421, "wrong_host", told)
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        raise ApiRefused(403, "cross_site", "another site's page asked for this")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if request.path.startswith("/api/") and site != "same-origin":
        raise ApiRefused(403, "cross_site", "another site's page asked for this")


async def _body(request: web.Request, shape: type[_T]) -> _T:
    """The JSON body. Raises `ApiRefused`."""
    # No form of another site can send this type without asking us first.
    if request.content_type != "application/json":
        raise ApiRefused(415, "not_json", "allowed is the content type application/json")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await request.read()
        return msgspec.json.decode(body, type=shape)
    except TimeoutError as error:
        raise ApiRefused(408, "too_slow", "the body did not come in time") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        told = str(error).splitlines()[0][:200]
        told = told[:1].lower() + told[1:]
        raise ApiRefused(400, "bad_request", f"the body: {told}") from error


def _unauthorized(reason: str) -> ApiRefused:
    return ApiRefused(401, "unauthorized", reason, {"WWW-Authenticate": "Bearer"})


def _json(value: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(value), status=status, content_type="application/json", charset="utf-8"
    )


def _error(
    status: int, code: str, reason: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    response = _json({"error": {"code": code, "message": reason}}, status)
    response.headers.update(headers or {})
    return response


async def _harden(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    response.headers.pop("Server", None)


def _files() -> list[tuple[str, bytes, str]]:
    """The page's own files: path, content, and content type."""
    files = [file for file in sorted(_FILES.iterdir()) if file.suffix in _TYPES]
    return [
        (
            "/" if file.name == "index.html" else f"/{file.name}",
            file.read_bytes(),
            _TYPES[file.suffix],
        )
        for file in files
    ]


def _static(content: bytes, kind: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=content, headers={"Content-Type": kind})

    return answer
