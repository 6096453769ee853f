"""What each request to the page must pass, and what each answer carries.

The page is bound to loopback, where the agent is too, and a browser that shows it also shows other
sites: nothing is done for another site's page, nor under another name that points here.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
import orjson
from aiohttp import web

from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.telemetry.log import Level, Log

MOST_BODY_BYTES: Final = 1 << 14
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
_BODY_SECONDS = 10.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_T = TypeVar("_T")


class ApiRefused(Exception):
    """A request that is refused; `code` is for programs, `reason` one line for people."""

    def __init__(
        self, status: int, code: str, reason: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason, self.headers = status, code, reason, headers


class Guard:
    """Checks where a request comes from, and makes one JSON answer of whatever refuses it."""

    def __init__(self, log: Log) -> None:
        self._log = log

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request by `handler`, if it may be."""
        try:
            _check_origin(request)
            return await handler(request)
        except ApiRefused as refused:
            return _error(refused.status, refused.code, refused.reason, refused.headers)
        except web.HTTPRequestEntityTooLarge:
            return _error(413, "too_large", f"the body has more than {MOST_BODY_BYTES} bytes")
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


def _check_origin(request: web.Request) -> None:
    """Refuse what another site's page, or a name that points here, made a browser send."""
    host = request.headers.get("Host", "")
    if not _HOST.fullmatch(host):
        message = "open the page as http://localhost:PORT (kubectl port-forward), by no other name"
        raise ApiRefused(421, "wrong_host", message)
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        raise ApiRefused(403, "cross_site", "another site's page asked for this")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if request.path.startswith("/api/") and site != "same-origin":
        raise ApiRefused(403, "cross_site", "another site's page asked for this")


async def read_body(request: web.Request, shape: type[_T]) -> _T:
    """The JSON body. Raises `ApiRefused`."""
    # No form of another site can send this type without asking us first.
    if request.content_type != headers.JSON:
        raise ApiRefused(415, "not_json", "allowed is the content type application/json")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await request.read()
        return msgspec.json.decode(body, type=shape)
    except TimeoutError as error:
        raise ApiRefused(408, "too_slow", "the body did not come in time") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = str(error).splitlines()[0][:200]
        message = message[:1].lower() + message[1:]
        raise ApiRefused(400, "bad_request", f"the body: {message}") from error


def json_reply(value: Mapping[str, Any], status: int = 200) -> web.Response:
    """A reply whose body is `value`."""
    return web.Response(
        body=orjson.dumps(value), status=status, content_type=headers.JSON, charset="utf-8"
    )


def _error(
    status: int, code: str, reason: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    response = json_reply({"error": {"code": code, "message": reason}}, status)
    response.headers.update(headers or {})
    return response


async def harden(_: web.Request, response: web.StreamResponse) -> None:
    """Let browsers do with any reply as little as the page needs."""
    response.headers.update(_HEADERS)
    response.headers.pop("Server", None)
