"""How real clients wait for a human, each with its default time-outs."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.journeys import LEGACY, MODERN, NODE, PYTHON
from tests.conformance.packages import Node
from tests.conformance.processes import serving
from tests.conformance.world import FIXTURE
from tests.harness.hold_room import Room
from tests.harness.wait import soon, within
from thoughtgate_proxy.approvals.clock import SystemClock
from thoughtgate_proxy.core.approval import Approval, Vote, VoteValue

# A client that does not end at all is a failure, whatever its own limits are.
_PATIENCE = 400.0
_RULES: Any = {"rules": [{"match": "greet", "action": "approve"}]}


@dataclass(frozen=True)
class Waiter:
    """A client, and the way in which it waits."""

    client: str
    era: str
    protocol: str
    way: str
    verb: str = "call"

    def __str__(self) -> str:
        return f"{self.client} at {self.protocol}, {self.way}"


_STREAM, _ROUNDS = "held stream", "held stream, then round trips"
WAITERS = (
    *(Waiter(client, LEGACY, "2025-11-25", _STREAM) for client in (*PYTHON, *NODE)),
    Waiter("sdk 1.x", LEGACY, "2025-11-25", "task of 2025-11-25", "task"),
    *(
        Waiter(client, MODERN, "2026-07-28", _ROUNDS)
        for client in (*PYTHON, *NODE)
        if client != "sdk 1.x"
    ),
)


@dataclass(frozen=True)
class Waited:
    """What came of a call: its result, or its client's own failure, and what came then."""

    first: Any
    seconds: float
    again: Any = None


class Clients:
    """Clients before a gate that holds what they call."""

    def __init__(self, node: Node, room: Room) -> None:
        self._node, self._room = node, room
        # They take seconds of processor time to begin.
        self._beginning = asyncio.Semaphore(3)

    async def decided_after(self, waiter: Waiter, seconds: float) -> Waited:
        """A call that is approved so many seconds after the humans were asked."""
        key = f"{waiter}: {seconds:g} s"
        async with self._beginning:
            process = await self._call(waiter, key)
            asked = await self._asked(key)
        deciding = asyncio.create_task(self._approve(key, seconds))
        first = await _outcome(process)
        took = self._room.clock.now() - asked.opened
        await deciding
        again = await _outcome(await self._call(waiter, key)) if "failed" in first else None
        return Waited(first, took, again)

    async def comes_back(self, waiter: Waiter) -> Waited:
        """A call whose client is killed; it is approved meanwhile, and another client calls."""
        key = f"{waiter}: comes back"
        async with self._beginning:
            process = await self._call(waiter, key)
            asked = await self._asked(key)
        process.kill()
        await process.communicate()
        await self._approve(key, 0.5)
        begun = self._room.clock.now()
        again = await _outcome(await self._call(waiter, key))
        assert self._about(key) == [asked], "nobody is asked twice"
        return Waited(None, self._room.clock.now() - begun, again)

    async def _call(self, waiter: Waiter, key: str) -> asyncio.subprocess.Process:
        command, env = (
            ([sys.executable, "-m", PYTHON[waiter.client]], None)
            if waiter.client in PYTHON
            else (self._node.script(NODE[waiter.client]), self._node.env)
        )
        call = {"do": waiter.verb, "tool": "greet", "arguments": {"name": key}, "patient": True}
        # Tools that may be tasks are known by their listing.
        steps = [{"do": "connect"}, {"do": "tools"}, call]
        url = f"http://127.0.0.1:{self._room.port}/mcp"
        process = await asyncio.create_subprocess_exec(
            *command, url, waiter.era, env=env, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(steps).encode())
        process.stdin.close()
        return process

    async def _asked(self, key: str) -> Approval:
        await within(lambda: self._about(key), f"the question for {key}", 60)
        return self._about(key)[0]

    def _about(self, key: str) -> list[Approval]:
        """What the humans were asked of one case."""
        return [a for a in self._room.humans_asked() if f'"{key}"' in a.call.body.decode()]

    async def _approve(self, key: str, seconds: float) -> None:
        approval = await self._asked(key)
        await asyncio.sleep(max(0.0, approval.opened + seconds - self._room.clock.now()))
        vote = Vote("ada", "Ada", VoteValue.APPROVE, self._room.clock.now())
        await self._room.page.queue.vote(approval.id, vote)


async def _outcome(process: asyncio.subprocess.Process) -> Any:
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        output, errors, code = await soon(
            asyncio.gather(process.stdout.read(), process.stderr.read(), process.wait()),
            "the end of a client", _PATIENCE,
        )  # fmt: skip
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert code == 0, errors.decode()[-3000:]
    return json.loads(output)[-1]


@contextlib.asynccontextmanager
async def before(node: Node, folder: Path, **workflow: Any) -> AsyncIterator[Clients]:
    """Clients before a gate whose workflow has those settings, and the server of the journeys."""
    approval = {"default": {"adapter": "page", **workflow}}
    clock: Any = SystemClock()  # real time, where the other tests have one of their own
    async with serving(FIXTURE) as url:
        room = Room(
            folder, f"{url}/mcp", clock, approval=approval, governance=_RULES,
            limits={"pending_approvals": 100},
        )  # fmt: skip
        await room.open_door()
        try:
            yield Clients(node, room)
        finally:
            await room.close_door()
        assert not room.watch.failures


def greeted(waited: Any) -> bool:
    """Whether a call has its result."""
    return (
        isinstance(waited, dict)
        and waited.get("error") is False
        and str(waited["content"][0]).startswith("Hello, ")
    )


async def all_of(clients: Clients, seconds: Sequence[float]) -> dict[tuple[Waiter, str], Waited]:
    """Every client in every case, at the same time."""
    cases = {
        (waiter, f"{late:g} s"): clients.decided_after(waiter, late)
        for waiter in WAITERS
        for late in seconds
    }
    cases |= {(waiter, "came back"): clients.comes_back(waiter) for waiter in WAITERS}
    return dict(zip(cases, await asyncio.gather(*cases.values()), strict=True))
