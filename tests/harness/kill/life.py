"""One life of a process with approvals: an agent's calls, humans who answer, a death at will."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import thoughtgate_proxy.approvals
from tests.harness.approval_service import a_call, configured
from tests.harness.policy import AGENT
from thoughtgate_proxy.approvals.clock import SystemClock
from thoughtgate_proxy.approvals.queue import ApprovalQueue
from thoughtgate_proxy.approvals.service import ApprovalService
from thoughtgate_proxy.approvals.store.sqlite import Store
from thoughtgate_proxy.core.approval import (
    Approval,
    Asked,
    NoSuchTransition,
    State,
    Vote,
    VoteValue,
)
from thoughtgate_proxy.core.policy.identity import from_words
from thoughtgate_proxy.core.policy.permit import Permit
from thoughtgate_proxy.telemetry.log import Log
from thoughtgate_proxy.telemetry.metrics import Metrics
from thoughtgate_proxy.telemetry.record import Record

CALLS = ("delete_one", "delete_two", "delete_never")
"""The calls of the agent; humans reject the one that is called so, and approve the others."""
FLOW = {"adapter": "page", "approvers": ["ada", "bob"], "required": 2}
PACKAGE = str(Path(thoughtgate_proxy.approvals.__file__).parent)


@dataclass
class _Counting:
    """Counts the instructions of the package, and ends the process at one of them."""

    end_at: int | None
    count: int = 0

    def begin(self) -> None:
        threading.settrace(self._call)
        sys.settrace(self._call)

    def end(self) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:  # noqa: ARG002  Python's
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        return self._instruction

    def _instruction(self, frame: FrameType, event: str, arg: Any) -> Any:  # noqa: ARG002  likewise
        if event == "opcode":
            self.count += 1
            if self.count == self.end_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._instruction


@dataclass
class _World:
    """The way to what is outside."""

    path: str

    async def say(self, do: str, **facts: str) -> Any:
        reader, writer = await asyncio.open_unix_connection(self.path)
        line = json.dumps({"do": do, **facts}).encode() + b"\n"
        # In two writes, so that a death can come in between.
        for part in (line[:10], line[10:]):
            writer.write(part)
            await writer.drain()
        reply = json.loads(await reader.readline())
        writer.close()
        return reply


@dataclass
class _Humans:
    """An adapter that looks for its own message before it posts one."""

    queue: ApprovalQueue
    world: _World
    done: set[tuple[str, str]] = field(default_factory=set)

    async def ask(self, approval: Approval) -> str:
        if not await self.world.say("look", approval=approval.id):
            await self.world.say("post", approval=approval.id, call=approval.call.name)
        return "posted"

    async def update(self, approval: Approval) -> None:
        pass

    async def run(self) -> None:
        while True:
            for approval in self.queue.pending():
                if approval.message_ref is not None and approval.state is State.PENDING:
                    await self._vote(approval)
            await asyncio.sleep(0.001)

    async def _vote(self, approval: Approval) -> None:
        says = VoteValue.REJECT if approval.call.name == "delete_never" else VoteValue.APPROVE
        for who in ("ada", "bob"):
            if (approval.id, who) in self.done:
                continue
            try:
                await self.queue.vote(approval.id, Vote(who, who, says, 1.0))
            except NoSuchTransition:
                return
            self.done.add((approval.id, who))
            await self.world.say("voted", approval=approval.id, approver=who)


async def _agent(service: ApprovalService, world: _World, name: str) -> None:
    """One call, from two requests at once, until there is an outcome to give to the agent."""
    call = a_call(name)
    workflow = configured(approval={"default": FLOW}).config.approval["default"]
    asked = Asked("default", "page", "a rule asks for it", "rules")

    async def send(permit: Permit) -> bytes:
        assert permit.body == call.body
        return json.dumps(await world.say("call", call=name)).encode()

    async def wait() -> Any:
        approval = await service.open(call, asked, workflow)
        with service.attending(approval.id) as attendance:
            await service.settled(approval.id, 30)
            outcome = await service.dispatcher.dispatch(approval.id, "", send)
            attendance.answered()
            return outcome

    outcomes = await asyncio.gather(wait(), wait())
    states = {outcome.approval.state for outcome in outcomes}
    assert len(states) == 1, states
    state = states.pop()
    if state is State.DONE:
        assert all(json.loads(outcome.result)["result"] == {"did": name} for outcome in outcomes)
        assert sum(not outcome.shared for outcome in outcomes) <= 1
    await world.say("ended", call=name, state=state.value)
    await service.delivered(outcomes[0].approval.id)


async def _live(folder: str, socket: str, calls: Sequence[str]) -> None:
    world, gate = _World(socket), configured(approval={"default": FLOW})
    null = os.open(os.devnull, os.O_WRONLY)
    record = Record(Log(lambda: 0.0, fd=null), Metrics(), from_words(AGENT, "agents", "pod"))
    service = ApprovalService(
        Store(Path(folder)), lambda: gate, lambda _, queue: _Humans(queue, world), record,
        SystemClock(), os.urandom,
    )  # fmt: skip
    await service.supervisor.start()
    await asyncio.gather(*(_agent(service, world, name) for name in calls))
    service.close()
    await service.finished()
    os.close(null)


def live(folder: str, socket: str, calls: Sequence[str], end_at: int | None) -> int:
    """Live until `calls` have their outcomes, or until instruction `end_at`; gives how many.

    An `end_at` that is never reached, such as 0, has them counted; None is faster.
    """
    counting = _Counting(end_at)
    if end_at is not None:
        counting.begin()
    asyncio.run(_live(folder, socket, calls))
    counting.end()
    return counting.count


def main() -> None:
    """A process of its own, for whoever kills it by other means: folder, socket, calls."""
    asyncio.run(_live(sys.argv[1], sys.argv[2], sys.argv[3:]))


if __name__ == "__main__":
    main()
