"""Sends an approved call, and hands on what its server says until its response."""

import asyncio
import codecs
import zlib
from collections import deque
from collections.abc import MutableMapping
from typing import Any, Final

from thoughtgate_proxy.core.policy.permit import Permit
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.http import HttpReply, ReplyCut, first
from thoughtgate_proxy.core.protocol.message import Id
from thoughtgate_proxy.exchange import body
from thoughtgate_proxy.exchange.dispatch import Dispatch
from thoughtgate_proxy.mcp import answers, listings, raw_json, rewrite
from thoughtgate_proxy.mcp.reply_filter import BAD_REPLY
from thoughtgate_proxy.mcp.sse import EventTooLong, Splitter, data_of, field
from thoughtgate_proxy.upstream.errors import Restarting, UpstreamError

STATUS_META: Final = "io.thoughtgate/http_status"
# Of messages that nobody has taken yet: then the server waits, as far as somebody listens.
_MOST_WAITING: Final = 64
# A server may end a stream that it wants to be asked for again. One that gives nothing new so often
# will give no more; who names no time is asked after a second, and nobody makes us wait for longer.
_MOST_IN_VAIN: Final = 5
_RETRY_SECONDS: Final = 1.0
_LONGEST_RETRY_SECONDS: Final = 60.0
# Each time in vain is followed by so much more of a wait.
AGAIN_SECONDS: Final = 0.5
# Then the rest is asked for anew: a server may lose what comes while it takes a stream up again.
ANEW_SECONDS: Final = 30.0
_MOST_DIGITS: Final = 10
# A longer result is given to who waits for it, and kept for nobody else.
_MOST_KEPT_BYTES: Final = 1 << 20


class ServerCall:
    """One sending. One request at a time listens to the server's other messages."""

    def __init__(
        self,
        dispatch: Dispatch,
        most_bytes: int,
        registry: "MutableMapping[str, ServerCall] | None" = None,
    ) -> None:
        """`most_bytes` is the most of one message.

        While an approved call is being sent, `registry` has it by its approval's id.
        """
        self._dispatch, self._most_bytes, self._registry = dispatch, most_bytes, registry
        self._messages: deque[bytes] = deque()
        self._taken, self._arrived = asyncio.Event(), asyncio.Event()
        self._listened = False
        self.sent_id: Id | None = None
        """The id with which the call is sent."""
        self.sent_token: rewrite.Token | None = None
        """The progress token with which it is sent."""
        self.response: bytes | None = None
        """The server's response, with the id of what was sent."""
        self.subscription: HttpReply | None = None
        """The server's reply, if it is a stream that goes on for as long as it is listened to."""

    async def send(self, permit: Permit) -> bytes | None:
        """Send; gives the response, None if it is too long to be kept.

        Raises `UpstreamError`, and `ReplyCut` if no response came.
        """
        approval = permit.approved
        if self._registry is None or approval is None:
            return await self._send(permit)
        self._registry[approval.id] = self
        try:
            return await self._send(permit)
        finally:
            del self._registry[approval.id]

    @property
    def has_question(self) -> bool:
        """Whether the server has asked its client something that nobody has taken."""
        return any(raw_json.at(message, "id") is not None for message in self._messages)

    def listen(self) -> bool:
        """Let a request listen to the messages; False if another one does."""
        free, self._listened = not self._listened, True
        return free

    def leave(self) -> None:
        """Nobody listens any more; what the server asks is kept for who comes next."""
        self._listened = False
        self._taken.set()

    async def messages(self, end: "asyncio.Future[Any]", seconds: float) -> list[bytes]:
        """The server's messages that have come, without its response; waits for the first.

        None come once `end` is done, or after so many seconds of silence.
        """
        arrived = asyncio.ensure_future(self._arrived.wait())
        try:
            await asyncio.wait({end, arrived}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrived.cancel()
        messages = list(self._messages)
        self._messages.clear()
        self._arrived.clear()
        self._taken.set()
        return messages

    async def _send(self, permit: Permit) -> bytes | None:
        sent = raw_json.members(permit.body) or {}
        self.sent_id = raw_json.value(sent.get("id"))
        self.sent_token = rewrite.progress_token(raw_json.value(sent.get("params")))
        reply = await self._dispatch(permit)
        try:
            if raw_json.value(sent.get("method")) == "subscriptions/listen" and _streams(reply):
                self.subscription = reply
                return None
            await self._read(reply, permit)
        finally:
            if self.subscription is None:
                reply.close()
        if self.response is None:
            raise ReplyCut("the server's reply ended before its response")
        return self.response if len(self.response) <= _MOST_KEPT_BYTES else None

    async def _read(self, reply: HttpReply, permit: Permit) -> None:
        kind = headers.media_type(first(reply.headers, "content-type"))
        if not 200 <= reply.status < 300:
            self.response = self._error(reply.status, await self._whole(reply), reply)
        elif kind == headers.EVENT_STREAM:
            if headers.encoded(first(reply.headers, "content-encoding")):
                self._fail("is encoded, although only identity was allowed")
            else:
                await self._events(reply, permit)
        else:
            await self._json(reply)

    async def _json(self, reply: HttpReply) -> None:
        """Take the whole reply: that of a single request is its answer, in whatever form.

        The tool has run, so what it answered is handed on even where we would not have written it
        so: compressed, with a byte order mark, with half a surrogate.
        """
        content = await self._whole(reply)
        if content is not None and headers.encoded(first(reply.headers, "content-encoding")):
            content = self._decompressed(content)
            if content is None:
                self._fail("is encoded, although only identity was allowed")
                return
        if content is None:
            self._fail("is too long")
            return
        content = content.removeprefix(codecs.BOM_UTF8)
        members = listings.members(content)
        for member in members:
            await self._message(member)
        if self.response is None and content.lstrip().startswith(b"{"):
            self.response = content
        if self.response is None:
            self._fail("holds no response to it")

    def _decompressed(self, content: bytes) -> bytes | None:
        """The bytes of a gzip, if they are whole and within the limit."""
        decoder = zlib.decompressobj(wbits=31)
        try:
            plain = decoder.decompress(content, self._most_bytes)
        except zlib.error:
            return None
        return plain if decoder.eof else None

    async def _events(self, reply: HttpReply, permit: Permit) -> None:
        """Read to the response, also where the server ends the stream before, to be asked again."""
        position, in_vain = _Position(), 0
        try:
            await self._stream(reply, position)
            while self.response is None and position.last_event and in_vain < _MOST_IN_VAIN:
                await asyncio.sleep(max(position.retry_seconds, in_vain * AGAIN_SECONDS))
                in_vain = 0 if await self._more(permit, position) else in_vain + 1
        except EventTooLong:
            self._fail("is too long")

    async def _more(self, permit: Permit, position: "_Position") -> bool:
        """Ask for the rest, which acts on nothing; whether something came or may still come.

        A refusal may be for now: a server that has not noticed the end of the connection before
        says 409.
        """
        before = position.last_event
        try:
            rest = await self._dispatch.resume(permit, before)
        except Restarting as error:
            raise ReplyCut(str(error)) from error
        except UpstreamError:
            return False
        try:
            async with asyncio.timeout(ANEW_SECONDS):
                if _streams(rest):
                    await self._stream(rest, position)
        except TimeoutError:
            return True  # it is at work
        finally:
            rest.close()
        return position.last_event != before

    async def _stream(self, reply: HttpReply, position: "_Position") -> None:
        splitter = Splitter(self._most_bytes)
        try:
            async for piece in body.pieces(reply.body):
                for event in splitter.feed(piece):
                    if (data := data_of(event)) is not None and data.strip():
                        await self._message(data)
                    position.advance(event)
                if self.response is not None:
                    return
            # The standard discards an event without its empty line; the SDKs take it.
            if (data := data_of(splitter.rest)) is not None and data.strip():
                await self._message(data)
        except ReplyCut:
            if not position.last_event:
                raise

    async def _message(self, data: bytes) -> None:
        message = raw_json.members(data)
        if message is None:
            return
        if self.sent_id is not None and rewrite.responds_to(message, self.sent_id):
            self.response = data
            return
        if "method" not in message:
            return  # an answer to what was not asked
        while self._listened and len(self._messages) >= _MOST_WAITING:
            self._taken.clear()
            await self._taken.wait()
        if len(self._messages) < _MOST_WAITING and (self._listened or "id" in message):
            self._messages.append(data)
            self._arrived.set()

    async def _whole(self, reply: HttpReply) -> bytes | None:
        """The body; None if it is too long. Raises `ReplyCut`."""
        content = await body.read(reply.body, self._most_bytes)
        if isinstance(content, bytes):
            return content
        if content.cut is not None:
            raise content.cut
        return None

    def _fail(self, what: str) -> None:
        text = f"the server's reply {what}, so it cannot be given; the call was sent and answered"
        self.response = answers.error(self.sent_id, BAD_REPLY, text)

    def _error(self, status: int, content: bytes | None, reply: HttpReply) -> bytes:
        """A reply that is not 2xx, as the error event that it must become."""
        note: dict[str, Any] = {"status": status}
        if (challenge := first(reply.headers, "www-authenticate")) is not None:
            note["www_authenticate"] = challenge
        held = raw_json.members(content or b"") or {}
        if raw_json.members(held.get("error", b"")) is not None and self.sent_id is not None:
            response = rewrite.with_id(content or b"", self.sent_id)
            return raw_json.put(response, ("error", "data", STATUS_META), note)
        text = f"the MCP server answered the approved call with HTTP status {status}"
        return answers.error(self.sent_id, BAD_REPLY, text, {STATUS_META: note})


class _Position:
    """How far a stream of events was read."""

    def __init__(self) -> None:
        self.last_event = ""
        """The id to go on after; empty if there is none, or none that fits into a header."""
        self.retry_seconds = _RETRY_SECONDS

    def advance(self, event: bytes) -> None:
        """One more has been read."""
        if (id := field(event, b"id")) is not None:
            text = id.decode("latin-1")
            self.last_event = text if text.isascii() and text.isprintable() else ""
        retry = field(event, b"retry") or b""
        if retry.isdigit() and len(retry) < _MOST_DIGITS:
            self.retry_seconds = min(int(retry) / 1000, _LONGEST_RETRY_SECONDS)


def _streams(reply: HttpReply) -> bool:
    kind = headers.media_type(first(reply.headers, "content-type"))
    return reply.status == 200 and kind == headers.EVENT_STREAM
