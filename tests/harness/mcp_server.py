"""An MCP server on a raw socket: it writes down every byte that it gets, and answers as scripted.

It is lenient on purpose, as a careless server would be, so that a test can ask what such a server
could have taken for a call.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.harness.wait import within


@dataclass(frozen=True)
class Received:
    """One request as it came: `raw` has all of its bytes; names of headers are in lower case."""

    raw: bytes
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    """The number of the connection that it came on, from 0."""

    def header(self, name: str) -> str | None:
        """The only header of that name; a second one is a test's failure."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def message(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass
class Peer:
    """The way back to whoever sent a request."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set as soon as the other side has closed or reset the connection."""

    async def send(self, data: bytes) -> None:
        """Write, and wait until the other side takes it."""
        if self.writer.is_closing():  # on which uvloop raises a RuntimeError
            raise ConnectionResetError("the client is gone")
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int = 200, *lines: str) -> None:
        """The status line and header lines of a reply."""
        await self.send("\r\n".join([f"HTTP/1.1 {status} Status", *lines, "", ""]).encode())

    async def reply(
        self, body: bytes = b"", *lines: str, status: int = 200, kind: str | None = None
    ) -> None:
        """A whole reply with its length, JSON unless `kind` says otherwise."""
        if body or kind:
            lines = (f"Content-Type: {kind or 'application/json'}", *lines)
        text = "\r\n".join(
            [f"HTTP/1.1 {status} Status", *lines, f"Content-Length: {len(body)}", "", ""]
        )
        await self.send(text.encode() + body)

    async def events(self, *lines: str) -> None:
        """The head of an event stream, to be followed by `event` and `end`."""
        await self.head(
            200, "Content-Type: text/event-stream", "Transfer-Encoding: chunked", *lines
        )

    async def chunk(self, data: bytes) -> None:
        """One chunk of a chunked body."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, message: Any, id: str | None = None) -> None:
        """One event with a JSON message."""
        name = f"id: {id}\n".encode() if id is not None else b""
        await self.chunk(b"event: message\n" + name + b"data: " + dumps(message) + b"\n\n")

    async def end(self) -> None:
        """The last chunk."""
        await self.send(b"0\r\n\r\n")

    def close(self) -> None:
        """Close the connection as a server does that has no more to say."""
        self.writer.close()

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Received, Peer], Awaitable[None]]


class FakeMcpServer:
    """Listens on a free port of loopback for as long as the `async with` lasts."""

    def __init__(self, script: Script | None = None, tls: ssl.SSLContext | None = None) -> None:
        """With `tls` it speaks TLS, and nothing else."""
        self._tls = tls
        self.script: Script = script or polite
        self.received: list[Received] = []
        self.connections: list[Peer] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, limit=1 << 26, ssl=self._tls
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.close()
        for peer in self.connections:
            peer.writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Its URL, without a path."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def calls(self) -> list[str]:
        """The names of all tools that any reading of what was received could call."""
        return [name for request in self.received for name in callable_names(request.body)]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer)
        number = len(self.connections)
        self.connections.append(peer)
        waiting: asyncio.Queue[Received] = asyncio.Queue()
        answering = asyncio.create_task(self._answer(waiting, peer))
        try:
            while (request := await _request(reader, number)) is not None:
                self.received.append(request)
                waiting.put_nowait(request)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            peer.gone.set()
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await answering
            writer.transport.abort()
            self._tasks.discard(task)

    async def _answer(self, waiting: "asyncio.Queue[Received]", peer: Peer) -> None:
        while True:
            request = await waiting.get()
            await self.script(request, peer)


async def polite(request: Received, peer: Peer) -> None:
    """Answer as a small server would: each request gets a result, everything else 202."""
    if request.method != "POST":
        await peer.reply(status=405)
        return
    message = request.message
    if isinstance(message, list):
        body = dumps([result(one) for one in message if "id" in one and "method" in one])
        await peer.reply(body if body != b"[]" else b"", status=200 if body != b"[]" else 202)
    elif isinstance(message, dict) and "id" in message and "method" in message:
        await peer.reply(dumps(result(message)))
    else:
        await peer.reply(status=202)


def result(message: dict[str, Any]) -> dict[str, Any]:
    """A result that fits the request `message`."""
    method, params = message.get("method"), message.get("params") or {}
    value: dict[str, Any] = {}
    if method == "tools/call":
        value = {"content": [{"type": "text", "text": f"did {params.get('name')}"}]}
    elif method == "tools/list":
        names = ("get_user", "delete_user", "admin_reset", "hidden_tool")
        value = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}
    return {"jsonrpc": "2.0", "id": message["id"], "result": value}


def dumps(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def callable_names(body: bytes) -> list[str]:
    """Every tool that some careless reading of `body` would call.

    Such a reading may take the first or the last of equal keys, ignore case, and decode UTF-16.
    """
    found: set[str] = set()
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        with contextlib.suppress(ValueError, RecursionError):
            text = body.decode(encoding, "replace")
            for value in _documents(text):
                for message in value if isinstance(value, _List) else [value]:
                    found.update(_named(message))
    return sorted(found)


class _List(list[Any]):
    """A JSON array, told from the pairs of an object."""


def _documents(text: str) -> list[Any]:
    """All JSON documents in `text`, objects as lists of pairs."""
    decoder = json.JSONDecoder(object_pairs_hook=list, strict=False)
    values, at = [], 0
    while at < len(text):
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError:
            at += 1
            continue
        if text[at] in "{[":
            values.append(_List(value) if text[at] == "[" else value)
        at = max(end, at + 1)
    return values


def _named(message: Any) -> set[str]:
    """The names in a message, of which any `method` may be a call."""
    methods = {value for key, value in _pairs(message) if key.strip().casefold() == "method"}
    if "tools/call" not in methods:
        return set()
    return {
        name
        for key, params in _pairs(message)
        if key.strip().casefold() == "params"
        for inner, name in _pairs(params)
        if inner.strip().casefold() == "name" and isinstance(name, str)
    }


def _pairs(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, list):
        return []
    return [pair for pair in value if isinstance(pair, tuple) and isinstance(pair[0], str)]


async def _request(reader: asyncio.StreamReader, connection: int) -> Received | None:
    """The next request on a connection; None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    assert version == "HTTP/1.1"
    headers = []
    for line in lines:
        name, colon, value = line.partition(": ")
        assert colon, f"no header line: {line!r}"
        headers.append((name.lower(), value))
    lengths = [int(value) for name, value in headers if name == "content-length"]
    assert not any(name == "transfer-encoding" for name, _ in headers)
    assert len(lengths) < 2, "two lengths"
    body = await reader.readexactly(lengths[0]) if lengths else b""
    return Received(head + body, method, target, headers, body, connection)


async def received(server: FakeMcpServer, count: int) -> list[Received]:
    """All requests, once there are `count` of them."""
    await within(lambda: len(server.received) >= count, f"{count} requests at the server")
    return server.received
