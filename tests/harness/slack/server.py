"""A Slack to be called over HTTP by the real client, and to be driven by a test.

It refuses what the real one refuses. A test in the same process uses `workspace`; one that is
elsewhere, as in a cluster, the paths under `/control/`.
"""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.harness.slack.limits import Limits, Meter
from tests.harness.slack.methods import Methods
from tests.harness.slack.workspace import CHANNEL, ApiError, App, Workspace

_HOLDING_SECONDS = 3600


@dataclass
class Fault:
    """Something that goes wrong with the next `times` calls of a method, `*` being any.

    `how`: `drop` (no answer, nothing done), `act` (no answer, but done), `late` (no answer, done
    after a second), `hang` (an answer never comes), `500`, `html`, `internal_error`.
    """

    how: str
    times: int = 1


@dataclass(frozen=True)
class Call:
    """One call that came."""

    method: str
    arguments: Mapping[str, Any]
    at: float


class FakeSlack:
    """Serves while the `async with` lasts. `url` is for `THOUGHTGATE_SLACK_API_URL`."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        now: Callable[[], float] = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        base_url: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Without `limits` nothing is limited; `base_url` is how a client reaches it.

        With `tls` it speaks TLS, and nothing else.
        """
        self._tls = tls
        self.workspace = Workspace(now)
        self.meter = Meter(limits or {}, time.monotonic)
        self.faults: dict[str, Fault] = {}
        self.calls: list[Call] = []
        self._host, self._wanted, self._base_url = host, port, base_url
        self._late: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_post("/upload/v1/{id}", self._upload)
        app.router.add_route("*", "/control/{what}", self._control)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._wanted, ssl_context=self._tls)
        await site.start()
        self.port: int = self._runner.addresses[0][1]
        self.base_url = self._base_url or f"http://127.0.0.1:{self.port}"
        self.url = f"{self.base_url}/api/"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    def count(self, method: str) -> int:
        """How many calls of a method came."""
        return sum(call.method == method for call in self.calls)

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method, given = request.match_info["method"], await _arguments(request)
        self.calls.append(Call(method, given, time.monotonic()))
        fault = self._fault(method)
        app, error = self._who(request, given)
        if fault in ("drop", "hang", "500", "html", "internal_error"):
            return await self._fail(request, fault)
        if fault == "late":
            task = asyncio.create_task(self._later(app, method, given))
            self._late.add(task)
            return await self._fail(request, "drop")
        if app is None:
            return _answer({"ok": False, "error": error})
        if wait := self.meter.wait(method, app.app):
            headers = {"Retry-After": str(wait)}
            return _answer({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
        headers = {"X-OAuth-Scopes": ",".join(sorted(app.scopes))}
        try:
            answer = {"ok": True, **Methods(self.workspace, app, self.base_url).call(method, given)}
        except ApiError as refused:
            answer = {"ok": False, "error": refused.error, **refused.more}
        if fault == "act":
            return await self._fail(request, "drop")
        return _answer(answer, headers=headers)

    def _fault(self, method: str) -> str | None:
        for name in (method, "*"):
            fault = self.faults.get(name)
            if fault is not None and fault.times > 0:
                fault.times -= 1
                return fault.how
        return None

    def _who(self, request: web.Request, given: Mapping[str, Any]) -> tuple[App | None, str]:
        word, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token if word == "Bearer" else str(given.get("token", ""))
        if not token:
            return None, "not_authed"
        return self.workspace.apps.get(token), "invalid_auth"

    async def _fail(self, request: web.Request, how: str) -> web.StreamResponse:
        if how == "500":
            return web.Response(status=500, text="oops", content_type="text/html")
        if how == "html":
            return web.Response(text="<h1>Sign in</h1>", content_type="text/html")
        if how == "internal_error":
            return _answer({"ok": False, "error": "internal_error"})
        if how == "hang":
            await asyncio.sleep(_HOLDING_SECONDS)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _later(self, app: App | None, method: str, given: Mapping[str, Any]) -> None:
        await asyncio.sleep(1)
        if app is not None:
            with contextlib.suppress(ApiError):
                Methods(self.workspace, app, self.base_url).call(method, given)

    async def _upload(self, request: web.Request) -> web.Response:
        kept, content = self.workspace.files.get(request.match_info["id"]), await request.read()
        if kept is None or len(content) != kept["length"]:
            return web.Response(status=400, text="bad upload")
        kept["content"] = content
        return web.Response(text=f"OK - {len(content)}")

    async def _control(self, request: web.Request) -> web.Response:
        """`messages` and `calls` to read; `react`, `reply`, `delete`, `fault`, `scopes`, `limits`
        with a JSON object.
        """
        given: dict[str, Any] = json.loads(await request.read() or b"{}")
        channel = given.get("channel", CHANNEL)
        match request.match_info["what"]:
            case "messages":
                return _answer(self.workspace.channel(channel).posts)
            case "calls":
                return _answer([[call.method, call.arguments] for call in self.calls])
            case "react":
                self.workspace.react(given["user"], given["name"], given.get("ts"), channel)
            case "reply":
                ts = given.get("ts") or self.workspace.asked(channel)[-1]["ts"]
                self.workspace.say(given["user"], given["text"], channel, ts)
            case "delete":
                self.workspace.delete(given["ts"], channel)
            case "fault":
                self.faults[given.get("method", "*")] = Fault(given["how"], given.get("times", 1))
            case "scopes":
                for app in self.workspace.apps.values():
                    app.scopes = frozenset(given["scopes"])
            case "limits":
                limits = given["limits"]
                self.meter.limits = {name: (most, per) for name, (most, per) in limits.items()}
            case _:
                return _answer({"ok": False}, status=404)
        return _answer({"ok": True})


async def _arguments(request: web.Request) -> dict[str, Any]:
    given: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json" and request.can_read_body:
        body = await request.json()
        given |= body if isinstance(body, dict) else {}
    elif request.can_read_body:
        given |= dict(await request.post())
    return given


def _answer(
    value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.json_response(value, status=status, headers=headers)
