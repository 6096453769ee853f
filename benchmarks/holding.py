"""Holds requests open: `python -m benchmarks.holding hold|listen PORT COUNT`.

It says one line once the first bytes of all replies have come, and goes on until it is killed.
`hold` calls a tool that wants a human; 1,000 different calls, each asked as often as it takes.
"""

import asyncio
import sys

_CALL = (
    '{"jsonrpc":"2.0","id":%d,"method":"tools/call",'
    '"params":{"name":"held_call","arguments":{"n":%d}}}'
)
_DIFFERENT = 1000
_AT_ONCE = 50


def _request(kind: str, number: int) -> bytes:
    if kind == "listen":
        return b"GET / HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n"
    body = _CALL % (number, number % _DIFFERENT)
    head = (
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"accept: application/json, text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


async def _hold(kind: str, port: int, count: int) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_request(kind, number))
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head or b"text/event-stream" not in head:
                raise SystemExit(f"not held: {head!r}")
            return reader, writer

    held = await asyncio.gather(*(one(number) for number in range(count)))
    print(len(held), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_hold(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
