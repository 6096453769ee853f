"""The agent's load: `python load.py SECONDS RATE HELD`, against MCP_SERVER_URL.

Holds HELD calls that want a human, makes RATE calls a second for so long, and prints what came of
them as one line of JSON; times in milliseconds.
"""

import asyncio
import json
import os
import sys
import time
from urllib.parse import urlsplit

CONNECTIONS = 4
VERSION = "2026-07-28"  # the revision without sessions: a call needs nothing before it
META = (
    f'{{"io.modelcontextprotocol/protocolVersion":"{VERSION}",'
    '"io.modelcontextprotocol/clientCapabilities":{}}'
)
CALL = (
    '{"jsonrpc":"2.0","id":%d,"method":"tools/call",'
    '"params":{"name":"%s","arguments":%s,"_meta":%s}}'
)


def request(number: int, tool: str, arguments: str) -> bytes:
    """A whole POST."""
    body = CALL % (number, tool, arguments, META)
    return (
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\n"
        f"MCP-Protocol-Version: {VERSION}\r\nMcp-Method: tools/call\r\nMcp-Name: {tool}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the sidecar."""
    where = urlsplit(os.environ["MCP_SERVER_URL"])
    return await asyncio.open_connection(where.hostname, where.port)


async def held(number: int) -> bool:
    """Ask for what wants a human; whether it is held: an event stream that has begun."""
    reader, writer = await connect()
    writer.write(request(number, "delete_user", f'{{"user_id": {number}}}'))
    head = await reader.readuntil(b"\r\n\r\n")
    HOLDING.append((reader, writer))
    return b"text/event-stream" in head


HOLDING: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []


async def calls(seconds: float, rate: float, took: list[float]) -> int:
    """One connection's share; gives the number of calls that went wrong."""
    reader, writer = await connect()
    begun, wrong = time.monotonic(), 0
    for number in range(int(seconds * rate)):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        sent = time.monotonic()
        writer.write(request(number, "get_user", '{"user_id": 7}'))
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        body = await reader.readexactly(int(length))
        took.append(time.monotonic() - sent)
        wrong += b"user 7: Ada" not in body
    return wrong


async def main(seconds: float, rate: float, holds: int) -> None:
    """Hold, press, tell."""
    holding = sum(await asyncio.gather(*(held(number) for number in range(holds))))
    took: list[float] = []
    share = rate / CONNECTIONS
    wrong = sum(await asyncio.gather(*(calls(seconds, share, took) for _ in range(CONNECTIONS))))
    took.sort()
    p50, p99, most = (took[int(len(took) * part)] * 1000 for part in (0.5, 0.99, 0.9999))
    still = sum(not reader.at_eof() for reader, _ in HOLDING)
    told = {"calls": len(took), "wrong": wrong, "held": holding, "still_held": still}
    print(json.dumps(told | {"p50": p50, "p99": p99, "most": most}))


asyncio.run(main(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
