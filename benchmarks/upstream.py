"""The MCP server of the benchmarks: answers every request at once with the same reply.

`python -m benchmarks.upstream PORT`. It looks for nothing but the end of each request, so that what
is measured is what stands before it.
"""

import asyncio
import re
import sys

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
BODY = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"user 7: Ada"}]}}'
REPLY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)
) + BODY


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
            self._buffer = self._buffer[end:]
            assert self._transport is not None  # noqa: S101  connection_made came first
            self._transport.write(REPLY)


async def serve(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
