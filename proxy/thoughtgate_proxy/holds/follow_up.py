"""One leg of a round trip after the approval: the answer to what the server of a call asks back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from thoughtgate_proxy.core.policy.permit import Permit
from thoughtgate_proxy.core.protocol.http import HttpReply, ReplyCut
from thoughtgate_proxy.holds import server_messages
from thoughtgate_proxy.holds.server_call import ServerCall
from thoughtgate_proxy.holds.stream import HEADERS, KEEP_ALIVE_SECONDS
from thoughtgate_proxy.mcp import answers, approval_texts, raw_json, rewrite
from thoughtgate_proxy.mcp.answers import Addressee
from thoughtgate_proxy.mcp.sse import comment, event
from thoughtgate_proxy.upstream.errors import UpstreamError

_ALIVE = comment(b"waiting for the server")


class FollowUp:
    """The stream of one such request. It goes to the server at once, and ends with its client."""

    def __init__(
        self,
        carrier: ServerCall,
        permit: Permit,
        to: Addressee,
        token: rewrite.Token | None,
        wrapped: Callable[[bytes], bytes],
    ) -> None:
        """`wrapped` makes of a further question of the server's the one that the client gets."""
        self._carrier, self._to, self._wrapped = carrier, to, wrapped
        self._progress = rewrite.Progress(token, theirs=token)
        carrier.listened = True
        self._sending = asyncio.ensure_future(carrier.send(permit))

    def reply(self) -> HttpReply:
        """The reply, as a stream."""
        return HttpReply(200, HEADERS, self._events(), self._close)

    async def response(self) -> bytes:
        """The response alone, with the id of the request."""
        try:
            await self._sending
        except UpstreamError as error:
            return self._failed(str(error), sent=error.sent)
        except ReplyCut as error:
            return self._failed(str(error), sent=True)
        response = self._carrier.response or b""
        if rewrite.asks_back(response):
            response = self._wrapped(response)
        return rewrite.answered(response, self._to.id)

    def _close(self) -> None:
        self._sending.cancel()

    async def _events(self) -> AsyncIterator[bytes]:
        yield _ALIVE
        said = server_messages.said(
            self._sending, lambda: self._carrier, self._passed, lambda: KEEP_ALIVE_SECONDS, _plainly
        )
        async for heard in said:
            yield heard or _ALIVE
        yield event(await self.response())

    def _passed(self, message: raw_json.Raws) -> bytes | None:
        return server_messages.as_event(message, self._progress)

    def _failed(self, reason: str, *, sent: bool) -> bytes:
        text = f"the MCP server of {self._to.subject} gave no reply: {reason}"
        code = answers.UPSTREAM_DOWN
        if sent:
            text += "; whether it acted on it is unknown, and it was not sent again"
            code = approval_texts.UNKNOWN_OUTCOME
        return answers.error(self._to.id, code, text)


async def _plainly(what: Awaitable[Any]) -> Any:
    return await what
