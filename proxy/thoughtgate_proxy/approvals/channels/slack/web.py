"""Slack's Web API through slack_sdk; the only module that imports it, and aiohttp.

None of slack_sdk's retry handlers is used: its default one repeats a call after a connection that
broke, so that a message would be posted twice; what may be repeated is known to the caller alone.
"""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from thoughtgate_proxy.approvals.channels.slack.errors import (
    RateLimited,
    SlackError,
    SlackRefused,
    Unreachable,
)
from thoughtgate_proxy.runtime import forward_proxy
from thoughtgate_proxy.upstream import tls as tls_module

_CONNECT_SECONDS = 5.0
_CALL_SECONDS = 15.0
# What Slack says when something of its own is broken, though it may have acted.
_ITS_OWN_FAULT = frozenset({
    "internal_error", "fatal_error", "request_timeout", "service_unavailable", "team_added_to_org",
})  # fmt: skip
_LIMITED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
_RETRY_AFTER = 30.0


class Web:
    """One token's calls, over connections that are kept. Make it in a running event loop."""

    def __init__(self, token: str, api_url: str, environ: Mapping[str, str]) -> None:
        """Raises `TrustMissing` and `ProxyWrong`."""
        url = urlsplit(api_url)
        tls = tls_module.context(None, environ) if url.scheme == "https" else None
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_CALL_SECONDS, connect=_CONNECT_SECONDS)
        )
        self._client = AsyncWebClient(
            token, api_url, ssl=tls, session=self._session, retry_handlers=[]
        )
        # It would take HTTP_PROXY for https too, and know nothing of NO_PROXY.
        self._client.proxy = _proxy(url.scheme, url.hostname or "", url.port, environ)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def call(self, method: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Slack's answer to one call that writes, as JSON. Raises `SlackError`."""
        return (await self._api(method, json=dict(arguments)))[0]

    async def read(self, method: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Slack's answer to one call that only reads. Raises `SlackError`."""
        return (await self._api(method, http_verb="GET", params=dict(arguments)))[0]

    async def who_am_i(self) -> tuple[Mapping[str, Any], str | None]:
        """The answer of `auth.test`, and the token's scopes as a header names them."""
        return await self._api("auth.test")

    async def upload(self, channel: str, name: str, text: str, comment: str) -> None:
        """Show a file in a channel, given by its id. Raises `SlackError`."""
        try:
            await self._client.files_upload_v2(
                filename=name, content=text, title=name, channel=channel, initial_comment=comment
            )
        except _FAILURES as error:
            raise _trouble("files.completeUploadExternal", error) from error

    async def _api(self, method: str, **request: Any) -> tuple[Mapping[str, Any], str | None]:
        try:
            answer = await self._client.api_call(method, **request)
        except _FAILURES as error:
            raise _trouble(method, error) from error
        if not isinstance(answer.data, dict):
            raise Unreachable(f"Slack's answer to `{method}` is none", sent=True)
        return answer.data, answer.headers.get("x-oauth-scopes")


# The last three are slack_sdk's way of meeting an answer that is no JSON object.
_FAILURES = (
    SlackClientError, aiohttp.ClientError, TimeoutError, OSError,
    AttributeError, ValueError, TypeError,
)  # fmt: skip


def _trouble(method: str, error: Exception) -> SlackError:
    match error:
        case SlackApiError():
            return _answered(method, error.response)
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Unreachable(f"Slack cannot be reached: {_one_line(error)}", sent=False)
        case aiohttp.ClientHttpProxyError():
            text = f"the proxy (HTTPS_PROXY) refuses the tunnel to Slack with {error.status}"
            return Unreachable(text, sent=False)
        case TimeoutError():
            return Unreachable(f"Slack gave no answer in {_CALL_SECONDS:.0f} s", sent=True)
        case aiohttp.ClientError() | OSError() | SlackClientError():
            return Unreachable(f"Slack gave no answer: {_one_line(error)}", sent=True)
        case _:
            return Unreachable(f"Slack's answer to `{method}` cannot be understood", sent=True)


def _answered(method: str, response: Any) -> SlackError:
    """`response` is an AsyncSlackResponse, or aiohttp's if its body was no JSON."""
    status = getattr(response, "status_code", None) or getattr(response, "status", 0)
    data = getattr(response, "data", None)
    answer = data if isinstance(data, dict) else {}
    error = str(answer.get("error", ""))
    if status == 429 or error in _LIMITED:
        return RateLimited(method, _retry_after(getattr(response, "headers", {})))
    if error in _ITS_OWN_FAULT or not error:
        what = f"with `{error}`" if error else f"with status {status} and no JSON of its own"
        return Unreachable(f"Slack answers `{method}` {what}", sent=True)
    return SlackRefused(method, error, str(answer.get("needed", "")))


def _retry_after(headers: Mapping[str, str]) -> float:
    text = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() else _RETRY_AFTER


def _proxy(scheme: str, host: str, port: int | None, environ: Mapping[str, str]) -> str | None:
    proxy = forward_proxy.named(environ) if scheme == "https" else None
    if proxy is None or forward_proxy.goes_direct(host, port or 443, environ):
        return None
    userinfo = ""
    if proxy.authorization is not None:
        pair = base64.b64decode(proxy.authorization.removeprefix("Basic "))
        user, _, password = pair.partition(b":")
        userinfo = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    return f"http://{userinfo}{f'[{proxy.host}]' if ':' in proxy.host else proxy.host}:{proxy.port}"


def _one_line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
