"""The MCP server of the benchmarks: answers each request at once, and looks at little of it.

`python -m benchmarks.upstream PORT`. What is measured is what stands before it; some of those want
to be greeted first.
"""

import asyncio
import functools
import re
import sys

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb'"id": *(-?\d+|"[^"]*")')
_CURSOR = re.compile(rb'"cursor": *"(\d+)"')
_LONG = re.compile(rb'"reply_(\d+)"')
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"4\r\n:\n\n\n\r\n"
)
_HEAD = b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_CALLED = b'{"content":[{"type":"text","text":"user 7: Ada"}]}'
_INITIALIZED = (
    b'{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},'
    b'"serverInfo":{"name":"bench","version":"1"}}'
)
_LISTED = (
    b'{"tools":[{"name":"get_user","inputSchema":{"type":"object",'
    b'"properties":{"user_id":{"type":"integer"}}}}]}'
)
_UNKNOWN = b'{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"unknown"}}'


@functools.cache
def _listing(size: int) -> bytes:
    tool = b'{"name":"tool_%d","description":"%s","inputSchema":{"type":"object"}}'
    return b'{"tools":[' + b",".join(tool % (n, b"x" * 200) for n in range(size)) + b"]}"


def answer(body: bytes) -> bytes:
    """The whole reply to one request."""
    id = _ID.search(body)
    if id is None:
        return _HEAD % (202, 0)
    if long := _LONG.search(body):
        result = b'{"content":[{"type":"text","text":"%s"}]}' % (b"x" * int(long[1]))
        reply = b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (id[1], result)
        return _HEAD % (200, len(reply)) + reply
    if listed := _CURSOR.search(body):
        reply = b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (id[1], _listing(int(listed[1])))
        return _HEAD % (200, len(reply)) + reply
    for method, result in _RESULTS:
        if method in body:
            reply = b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (id[1], result)
            return _HEAD % (200, len(reply)) + reply
    reply = _UNKNOWN % id[1]
    return _HEAD % (404 if b"server/discover" in body else 200, len(reply)) + reply


_RESULTS = (
    (b'"tools/call"', _CALLED),
    (b'"initialize"', _INITIALIZED),
    (b'"tools/list"', _LISTED),
    (b'"ping"', b"{}"),
)


class Answering(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's is one, if not by name

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._buffer += data
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < end:
                return
            listening = self._buffer.startswith(b"GET ")
            body, self._buffer = self._buffer[head + 4 : end], self._buffer[end:]
            assert self._transport is not None  # noqa: S101  connection_made came first
            self._transport.write(_STREAM if listening else answer(body))


async def serve(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
