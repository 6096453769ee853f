"""A request and a response as aiohttp's handler wants them, and no more."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiohttp.http import RawRequestMessage

from thoughtgate_proxy.core.protocol.http import HttpReply, ReplyCut, first
from thoughtgate_proxy.listeners.attention import FEW
from thoughtgate_proxy.listeners.metered import Metered
from thoughtgate_proxy.listeners.service import Service


class _Done:
    """What is awaited where there is nothing to wait for."""

    def __await__(self) -> Iterator[None]:
        return iter(())


_DONE = _Done()


class ParsedRequest:
    """A request as aiohttp's handler wants it, and no more."""

    __slots__ = ("_task", "connection", "message")

    def __init__(self, message: RawRequestMessage, connection: Metered) -> None:
        self.message, self.connection = message, connection
        self._task: object = None

    def _cancel(self, exc: BaseException) -> None:
        """The client has gone: whoever answers is cancelled, which is enough."""

    def _finish(self) -> None:
        """Nothing is kept for after the reply."""


class PreparedResponse:
    """A reply as aiohttp's handler wants it, written to the client in one piece if it can be."""

    __slots__ = ("_bare", "_chunks", "_connection", "_head", "_reply", "_service", "keep_alive")
    # aiohttp looks whether it was raised.
    __http_exception__ = False

    def __init__(self, service: Service, request: ParsedRequest, reply: HttpReply) -> None:
        self._service, self._connection, self._reply = service, request.connection, reply
        self.keep_alive = True
        """Whether the connection may be used again."""
        connection, message, body = request.connection, request.message, reply.body
        self._chunks = False
        self._bare = message.method == "HEAD"
        if service.closing:
            connection.lasts = False
        if isinstance(body, bytes):
            self._head = service.heads.whole(
                reply.status, reply.headers, body, last=not connection.lasts
            )
            return
        length = first(reply.headers, "content-length")
        self._chunks = length is None and message.version == (1, 1)
        if length is None and not self._chunks:
            connection.lasts = False
        self._head = service.heads.streamed(
            reply.status, reply.headers, length, chunks=self._chunks, last=not connection.lasts
        )

    def prepare(self, _: object) -> Any:
        """Nothing is written before all is known."""
        return _DONE

    def write_eof(self) -> Any:
        """Write the reply. What it gives to await raises `ConnectionError` if it was cut short."""
        connection, reply = self._connection, self._reply
        if connection.is_closing():
            reply.close()
            return _DONE
        body = reply.body
        if not isinstance(body, bytes):
            return self._stream(body)
        connection.write(self._head if self._bare else self._head + body)
        reply.close()
        return self._written() if connection.writable is not None else self._answered()

    def _answered(self) -> _Done:
        connection, service = self._connection, self._service
        connection.answered()
        self.keep_alive = connection.lasts
        if service.active < FEW and self.keep_alive:
            service.to_requests.expect()
        return _DONE

    async def _written(self) -> None:
        await _drained(self._connection)
        self._answered()

    async def _stream(self, body: AsyncIterator[bytes]) -> None:
        connection, watch, chunks = self._connection, self._service.watch, self._chunks
        try:
            connection.write(self._head)
            async for piece in body:
                if piece:
                    connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunks else piece)
                if connection.writable is not None:
                    await _drained(connection)
            if chunks:
                connection.write(b"0\r\n\r\n")
        except ReplyCut as error:
            watch.cut(str(error))
            connection.abort()  # the client must not take what it has for the whole
            raise ConnectionAbortedError from None
        except Exception as error:  # noqa: BLE001  whatever we got wrong, likewise
            if not isinstance(error, ConnectionError):
                watch.broken(error)
            connection.abort()
            raise ConnectionAbortedError from None
        finally:
            self._reply.close()
        self._answered()


async def _drained(connection: Metered) -> None:
    """Wait until the client has taken most of what was written. Raises `ConnectionError`."""
    if connection.writable is not None:
        await connection.writable
    if connection.is_closing():
        raise ConnectionResetError
