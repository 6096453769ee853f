"""A mixture of requests that a server, the network and the client spoil, and their bookkeeping.

Every kind of request has one outcome, so that afterwards all counts can be held against each other.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.harness.mcp_server import FakeMcpServer, Peer, Received, dumps, polite
from tests.harness.proxy_process import Line, Proxy
from tests.harness.wait import soon
from tests.harness.wire import Cut, Wire, call, connected, post

NOTE = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
SOURCE = ", timeouts: {response: 3s}"
MALFORMED = b'{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call"}'
LISTING = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'

# Of a hundred requests, how many are of which kind.
SHARES = {
    "plain": 50, "denied": 15, "malformed": 5, "batch": 5, "listing": 3, "stream": 4,
    "stream_cut": 4, "reset_before": 3, "reset_within": 3, "leave_before": 3, "leave_within": 3,
    "dribble": 2,
}  # fmt: skip
# One of so many requests gets no answer at all, which takes as long as the source's timeout.
SILENT_EVERY = 1000


def kind_of(number: int) -> str:
    """The kind of the request with that number, the kinds well mixed."""
    if number % SILENT_EVERY == SILENT_EVERY - 1:
        return "silent"
    place = number * 37 % 100
    for kind, share in SHARES.items():
        if place < share:
            return kind
        place -= share
    raise AssertionError(place)


@dataclass
class Sent:
    """What the client did: the outcomes that follow from it."""

    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def forwards(self) -> int:
        """Calls that may be made."""
        others = ("denied", "malformed", "listing", "batch")
        return (
            sum(self.kinds.values())
            - sum(map(self.kinds.__getitem__, others))
            + (2 * self.kinds["batch"])
        )

    @property
    def denials(self) -> int:
        """Calls that may not."""
        return self.kinds["denied"] + self.kinds["batch"]

    @property
    def upstream(self) -> int:
        """Requests that must reach the server."""
        return sum(self.kinds.values()) - self.kinds["denied"] - self.kinds["malformed"]


class Arrived(list[Received]):
    """What the server saw: counted, and not kept."""

    def __init__(self) -> None:
        self.requests = 0
        self.calls: Counter[str] = Counter()
        self.here: dict[int, asyncio.Event] = {}
        """For requests whose client waits for their arrival, by their id."""

    def append(self, request: Received) -> None:
        self.requests += 1
        message = json.loads(request.body)
        for one in message if isinstance(message, list) else [message]:
            if one["method"] == "tools/call":
                self.calls[one["params"]["name"]] += 1
            if one["id"] in self.here:
                self.here[one["id"]].set()


class Logged(list[Line]):
    """What the proxy logged: counted, and not kept."""

    def __init__(self) -> None:
        self.decisions: Counter[str] = Counter()
        self.forwarded: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()

    def append(self, line: Line) -> None:
        self.messages[line["message"]] += line.get("times", 1)
        if line["message"] == "decision":
            self.decisions[line["outcome"]] += 1
            if line["outcome"] == "forward":
                self.forwarded[line["name"]] += 1


async def script(request: Received, peer: Peer) -> None:
    """Do to a request what its tool's name says."""
    message = request.message
    name = message["params"]["name"] if isinstance(message, dict) and "params" in message else ""
    if name not in SPOILT:
        await polite(request, peer)
        return
    try:
        await SPOILT[name](message["id"], peer)
    except ConnectionError:
        assert name.startswith("leave"), name


def answer(id: int) -> bytes:
    return dumps({"jsonrpc": "2.0", "id": id, "result": {"content": []}})


async def _stream(id: int, peer: Peer) -> None:
    await peer.events()
    await peer.event(NOTE)
    await peer.chunk(b"data: " + answer(id) + b"\n\n")
    await peer.end()


async def _stream_cut(_: int, peer: Peer) -> None:
    await peer.events()
    await peer.event(NOTE)
    peer.close()


async def _reset_before(_: int, peer: Peer) -> None:
    peer.reset()


async def _reset_within(_: int, peer: Peer) -> None:
    await peer.head(200, "Content-Type: application/json", "Content-Length: 9999")
    await peer.send(b'{"jsonrpc":')
    peer.close()


async def _leave_before(_: int, peer: Peer) -> None:
    await peer.gone.wait()


async def _leave_within(_: int, peer: Peer) -> None:
    await peer.events()
    while not peer.gone.is_set():
        await peer.event(NOTE)
        await asyncio.sleep(0.02)


async def _dribble(id: int, peer: Peer) -> None:
    body = answer(id)
    await peer.head(200, "Content-Type: application/json", f"Content-Length: {len(body)}")
    for at in range(0, len(body), 10):
        await peer.send(body[at : at + 10])
        await asyncio.sleep(0.001)


SPOILT: dict[str, Callable[[int, Peer], Awaitable[None]]] = {
    "stream": _stream, "stream_cut": _stream_cut, "reset_before": _reset_before,
    "reset_within": _reset_within, "leave_before": _leave_before, "leave_within": _leave_within,
    "dribble": _dribble, "silent": _leave_before,
}  # fmt: skip


def body_of(kind: str, number: int) -> bytes:
    """The request's body; its id is its number."""
    match kind:
        case "malformed":
            return MALFORMED
        case "listing":
            return LISTING
        case "denied":
            return call("admin_reset", number)
        case "batch":
            members = [call("get_user", number), call("admin_reset", -1), call("get_user", -2)]
            return b"[" + b",".join(members) + b"]"
        case _:
            return call(kind, number)


async def exchange(wire: Wire, arrived: Arrived, kind: str, number: int) -> bool:
    """Send one request and hold what comes against its kind; whether the connection goes on."""
    here = arrived.here[number] = asyncio.Event()
    await wire.send(post(body_of(kind, number)))
    try:
        match kind:
            case "leave_before":
                await soon(here.wait(), "the request at the server")
                return False
            case "leave_within":
                await wire.piece(wire.pieces(await wire.head()))
                return False
            case "reset_within":
                try:
                    raise AssertionError(await wire.reply())
                except Cut:
                    return False
        reply = await wire.reply()
    finally:
        del arrived.here[number]
    status, word = EXPECTED.get(kind, (200, b'"result":'))
    assert reply.status == status, (kind, reply)
    assert word in reply.body, (kind, reply)
    return reply.header("connection") != "close"


EXPECTED = {
    "denied": (200, b'"isError":true'),
    "malformed": (400, b'"error":'),
    "batch": (200, b'"isError":true'),
    "stream_cut": (200, b"ended before its reply"),
    "reset_before": (502, b"50201"),
    "silent": (504, b"50401"),
}


async def mixed(
    server: FakeMcpServer, proxy: Proxy, arrived: Arrived, numbers: range, at_once: int
) -> Sent:
    """Send the requests with those numbers, `at_once` of them under way at any time."""
    sent, left = Sent(), iter(numbers)

    async def worker() -> None:
        while True:
            async with connected(proxy.port) as wire:
                for number in left:
                    kind = kind_of(number)
                    sent.kinds[kind] += 1
                    if not await exchange(wire, arrived, kind, number):
                        break
                else:
                    return

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
    server.connections[:] = [peer for peer in server.connections if not peer.gone.is_set()]
    return sent
