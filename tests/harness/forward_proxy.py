"""A proxy that opens tunnels, all of them to one port of loopback, whatever name was asked for."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

OPENED = b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n"


class FakeForwardProxy:
    """Answers each request with `answer`, and goes on as a tunnel if that says so."""

    def __init__(self, port: int, answer: bytes = OPENED) -> None:
        self._to, self.answer = port, answer
        self.requests: list[bytes] = []
        self.gone = 0
        """How many connections have ended."""
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
                if self.answer == OPENED:
                    await self._tunnel(reader, writer)
                elif self.answer:
                    await reader.read()
        finally:
            self.gone += 1
            writer.transport.abort()
            self._tasks.discard(task)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers.append(far_writer)
        await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
    writer.transport.abort()
