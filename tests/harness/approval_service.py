"""Approval services to try: a clock that moves when told to, humans who note what they hear."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from tests.harness.clock import ManualClock
from tests.harness.policy import AGENT, SOURCE, gate_of
from tests.harness.wait import soon, within
from thoughtgate_proxy.approvals.channels.channel import AskFailed
from thoughtgate_proxy.approvals.dispatcher import DispatchOutcome, Send
from thoughtgate_proxy.approvals.queue import ApprovalQueue
from thoughtgate_proxy.approvals.service import ApprovalService
from thoughtgate_proxy.approvals.store.sqlite import Store
from thoughtgate_proxy.core.approval import Approval, Asked, Call, State, Vote, VoteValue
from thoughtgate_proxy.core.config.values import Kind
from thoughtgate_proxy.core.policy import call_digest
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.identity import from_words
from thoughtgate_proxy.core.policy.permit import Permit
from thoughtgate_proxy.telemetry.log import Log
from thoughtgate_proxy.telemetry.metrics import Metrics
from thoughtgate_proxy.telemetry.record import Record

RULES: dict[str, Any] = {
    "defaults": {"action": "forward"},
    "rules": [{"match": "delete_*", "action": "approve"}],
}
WORKFLOW: dict[str, Any] = {"adapter": "page", "timeout": "60s", "valid_for": "30s"}
RESULT = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'


@dataclass
class Humans:
    """A channel whose humans do nothing by themselves."""

    queue: ApprovalQueue
    asked: list[Approval] = field(default_factory=list)
    told: list[Approval] = field(default_factory=list)
    cannot: Exception | None = None
    hold_asking: asyncio.Event | None = None

    async def ask(self, approval: Approval) -> str:
        self.asked.append(approval)
        if self.hold_asking is not None:
            await self.hold_asking.wait()
        if self.cannot is not None:
            raise self.cannot
        return f"message {len(self.asked)}"

    async def update(self, approval: Approval) -> None:
        self.told.append(approval)

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def say(
        self, id: str, verdict: VoteValue, who: str = "ada", reason: str = "", at: float = 0.0
    ) -> Approval:
        """One human's word."""
        return await self.queue.vote(id, Vote(f"id-{who}", who, verdict, at, reason))


class World:
    """An approval service on a folder, and what stands around it."""

    def __init__(self, folder: Path, clock: ManualClock | None = None, **config: Any) -> None:
        self.folder, self.clock = folder, clock or ManualClock()
        self.gate = configured(**config)
        self.lines: list[dict[str, Any]] = []
        self.metrics = Metrics()
        read, self._write = os.pipe()
        self._read = os.fdopen(read, "rb")
        os.set_blocking(read, False)
        self.log = Log(self.clock.now, fd=self._write, limit=1 << 22)
        self.record = Record(self.log, self.metrics, from_words(AGENT, "agents", "pod"))
        self.humans: dict[str, Humans] = {}
        self.cannot: AskFailed | None = None
        self.hold_asking: asyncio.Event | None = None

    @property
    def page(self) -> Humans:
        return self.humans["page"]

    def make(self, adapter: str, queue: ApprovalQueue) -> Humans:
        humans = Humans(queue, cannot=self.cannot, hold_asking=self.hold_asking)
        self.humans[adapter] = humans
        return humans

    async def start(self) -> None:
        self.store = Store(self.folder)
        self.service = ApprovalService(
            self.store, lambda: self.gate, self.make, self.record, self.clock, os.urandom
        )
        await self.service.supervisor.start()

    async def stop(self) -> None:
        self.service.close()
        await self.service.finished()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def reload(self, **config: Any) -> None:
        self.gate = configured(**config)
        self.service.supervisor.reloaded()

    async def open(self, call: Call | None = None, workflow: str = "default") -> Approval:
        chosen = self.gate.config.approval[workflow]
        why = Asked(workflow, chosen.adapter, "a rule asks for it", "rules", correlation="c1")
        return await self.service.open(call or a_call(), why, chosen)

    async def dispatch(self, id: str, credential: str, send: Send) -> DispatchOutcome:
        """Let a request of the caller carry the call."""
        return await self.service.dispatcher.dispatch(id, credential, send)

    async def asked(self, count: int = 1) -> None:
        """Wait until the humans were asked so often, and it is written down."""
        heard = self.humans.values
        await within(lambda: sum(len(h.asked) for h in heard()) >= count, "the humans")
        await within(
            lambda: all(
                a.message_ref for h in heard() for a in h.queue.pending() if a.state == "pending"
            ),
            "the note of where",
        )

    async def approved(self, call: Call | None = None) -> Approval:
        """An approval that was given."""
        opened = await self.open(call)
        await self.asked()
        return await self.page.say(opened.id, VoteValue.APPROVE)

    async def state(self, id: str) -> State:
        found = await self.service.find(id)
        assert found is not None
        return found.state

    async def comes_to(self, id: str, state: State) -> Approval:
        """The approval, once it is in that state."""

        async def look() -> Approval:
            while (found := await self.service.find(id)) is None or found.state is not state:  # noqa: ASYNC110  the store has no event
                await asyncio.sleep(0.002)
            return found

        return await soon(look(), f"{id} to be {state}")

    async def audit(self) -> list[dict[str, Any]]:
        """All audit lines so far."""
        await asyncio.sleep(0)
        self.log.flush()
        for line in (self._read.read() or b"").splitlines():
            self.lines.append(orjson.loads(line))
        return [line for line in self.lines if line.get("type") == "audit"]

    def close(self) -> None:
        self._read.close()
        os.close(self._write)


@asynccontextmanager
async def world(
    folder: Path, clock: ManualClock | None = None, **config: Any
) -> AsyncIterator[World]:
    """A service at work, and stopped in the end."""
    one = World(folder, clock, **config)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()
        one.close()


def configured(
    governance: Mapping[str, Any] | None = None,
    approval: Mapping[str, Any] | None = None,
    **file: Any,
) -> PolicyEngine:
    """A configuration in force; by default what is called `delete_...` needs approval."""
    whole = {
        "schema": 1,
        "sources": [SOURCE],
        "governance": {**RULES, **(governance or {})},
        "approval": {"default": WORKFLOW} if approval is None else approval,
        **file,
    }
    return gate_of(json.dumps(whole).encode())


def a_call(name: str = "delete_user", id: int = 1, credential: str = "", **arguments: Any) -> Call:
    """A call of a tool, bound."""
    params = {"name": name, "arguments": arguments}
    body = json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    call = Call(
        AGENT, "upstream", "tools/call", Kind.TOOL, name, "/mcp", body.encode(), "", credential
    )
    return replace(
        call,
        digest=call_digest.digest(
            principal=call.principal, source=call.source, target=call.target, body=call.body,
            credential=credential,
        ),
    )  # fmt: skip


@dataclass
class Carrier:
    """Sends, and writes down what it was permitted to."""

    permits: list[Permit] = field(default_factory=list)
    result: bytes | None = RESULT
    fails: Exception | None = None
    hold: asyncio.Event | None = None

    async def __call__(self, permit: Permit) -> bytes | None:
        self.permits.append(permit)
        if self.hold is not None:
            await self.hold.wait()
        if self.fails is not None:
            raise self.fails
        return self.result
