"""A client on a raw socket, which sends any bytes and reads replies as strictly as they come."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from tests.harness.wait import soon


class Cut(Exception):
    """The reply ended before its end."""


@dataclass(frozen=True)
class Reply:
    """A reply; names of headers in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Write; a proxy that has already refused and closed is no failure of the sender."""
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def head(self) -> Reply:
        """The head of the next reply that is none of 1xx."""
        while True:
            reply = await self.any_head()
            if reply.status >= 200:
                return reply

    async def any_head(self) -> Reply:
        """The head of the next reply, 1xx included. Raises `Cut`."""
        try:
            head = await soon(self.reader.readuntil(b"\r\n\r\n"), "the head of a reply")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Cut(f"no head: {getattr(error, 'partial', b'')!r}") from error
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        pairs = [line.partition(": ") for line in lines]
        return Reply(int(first.split(" ")[1]), [(name.lower(), value) for name, _, value in pairs])

    async def pieces(self, head: Reply) -> AsyncIterator[bytes]:
        """The body as it comes: chunk by chunk, or in one piece. Raises `Cut`."""
        length = head.header("content-length")
        try:
            if head.header("transfer-encoding") == "chunked":
                assert length is None
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    yield (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readexactly(2)
            elif length is not None:
                if int(length):
                    yield await self.reader.readexactly(int(length))
            elif head.status not in (204, 304):
                yield await self.reader.read(-1)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Cut("the body ended too early") from error

    async def piece(self, pieces: AsyncIterator[bytes]) -> bytes:
        """The next piece of a body."""
        return await soon(anext(pieces), "the next piece of a reply")

    async def reply(self, method: str = "POST") -> Reply:
        """The next reply, whole. Raises `Cut`."""
        head = await self.head()

        async def whole() -> bytes:
            if method == "HEAD":
                return b""
            return b"".join([piece async for piece in self.pieces(head)])

        return Reply(head.status, head.headers, await soon(whole(), "the body of a reply"))

    async def replies(self, count: int | None = 1 << 30) -> list[Reply]:
        """The next `count` replies, or fewer if the proxy closes the connection first.

        None: those that come until the proxy is silent for a moment.
        """
        found: list[Reply] = []
        with contextlib.suppress(Cut, TimeoutError):
            while count is None or len(found) < count:
                reply = self.reply()
                found.append(await (asyncio.wait_for(reply, 0.05) if count is None else reply))
        return found

    async def closed(self) -> None:
        """Wait until the proxy has closed the connection; more bytes are a failure."""
        with contextlib.suppress(ConnectionError):
            rest = await soon(self.reader.read(-1), "the end of the connection")
            assert not rest, f"more came: {rest[:200]!r}"

    def close(self) -> None:
        self.writer.close()

    def abort(self) -> None:
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def connected(port: int, **options: Any) -> AsyncIterator[Wire]:
    """A connection to the proxy."""
    wire = Wire(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 26, **options))
    try:
        yield wire
    finally:
        wire.abort()
        with contextlib.suppress(ConnectionError):
            await wire.writer.wait_closed()


def post(body: bytes, *lines: str, target: str = "/", host: str = "localhost") -> bytes:
    """A POST as an MCP client sends it; a line in `lines` replaces that of the same name."""
    given = {line.partition(":")[0].lower() for line in lines}
    usual = (
        f"Host: {host}", "Content-Type: application/json",
        "Accept: application/json, text/event-stream", f"Content-Length: {len(body)}",
    )  # fmt: skip
    kept = [line for line in usual if line.partition(":")[0].lower() not in given]
    head = "\r\n".join([f"POST {target} HTTP/1.1", *kept, *lines, "", ""])
    return head.encode("latin-1") + body


def get(target: str = "/", *lines: str, method: str = "GET") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def call(name: str, id: int | str = 1, **more: Any) -> bytes:
    """The body of a tool call; `more` goes into its params."""
    message = {"jsonrpc": "2.0", "id": id, "method": "tools/call"}
    return json.dumps({**message, "params": {"name": name, "arguments": {}, **more}}).encode()


async def ask(port: int, data: bytes, method: str = "POST") -> Reply:
    """Send `data` on a connection of its own, and give the reply."""
    async with connected(port) as wire:
        await wire.send(data)
        return await wire.reply(method)
