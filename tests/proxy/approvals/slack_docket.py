"""A docket that keeps approvals in memory, by the table of core.approval; and approvals to keep."""

import asyncio
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from thoughtgate_proxy.approvals.adapter import Asking
from thoughtgate_proxy.core.approval import (
    Approval,
    Asked,
    Call,
    State,
    Step,
    Verdict,
    Vote,
    after,
)
from thoughtgate_proxy.core.config.values import Adapter, Kind, Workflow

_NUMBERS = itertools.count(1)


def workflow(**settings: Any) -> Workflow:
    """A workflow of Slack's, by default with one listed approver."""
    given: dict[str, Any] = {"channel": "#approvals", "approvers": ("U0ALICE",), **settings}
    return Workflow(adapter=Adapter.SLACK, **given)


def approval(
    arguments: Any = None,
    *,
    name: str = "delete_user",
    kind: Kind = Kind.TOOL,
    opened: float | None = None,
    timeout: float = 600.0,
    required: int = 1,
    asked: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Approval:
    """A request that was just opened."""
    method = {Kind.TOOL: "tools/call", Kind.PROMPT: "prompts/get", Kind.RESOURCE: "resources/read"}
    key = "uri" if kind is Kind.RESOURCE else "name"
    params = {key: name} | ({} if arguments is None else {"arguments": arguments})
    body = {"jsonrpc": "2.0", "id": 7, "method": method[kind], "params": params}
    opened = time.time() if opened is None else opened
    facts: dict[str, Any] = {
        "workflow": "default", "adapter": Adapter.SLACK, "gate": "rules", "rule": 0,
        "reason": "rule 0 (`delete_*`) asks for approval", "match": "delete_*",
        "namespace": "agents", "pod": "my-agent-7d4f", "correlation": "c0ffee01",
    }  # fmt: skip
    return Approval(
        id=f"a{next(_NUMBERS):08d}",
        call=Call(
            principal='Agent::"data/my-agent"', source="upstream", method=method[kind], kind=kind,
            name=name, target="/mcp", body=json.dumps(body, ensure_ascii=False).encode(),
            digest="0" * 64,
        ),
        asked=Asked(**{**facts, **(asked or {})}),
        opened=opened,
        expires=opened + timeout,
        required=required,
        **fields,
    )  # fmt: skip


class MemoryDocket:
    """Opens, asks, counts and ends, as the desk does, and tells the adapter of each change."""

    def __init__(self, **workflows: Workflow) -> None:
        self.workflows = workflows or {"default": workflow()}
        self.approvals: dict[str, Approval] = {}
        self.votes: list[Vote] = []
        self.adapter: Asking | None = None

    async def open(self, opened: Approval) -> Approval:
        """Ask for it. Raises `CannotAsk`."""
        assert self.adapter is not None
        self.approvals[opened.id] = opened
        try:
            where = await self.adapter.ask(opened)
        except BaseException:
            del self.approvals[opened.id]
            raise
        await asyncio.sleep(0.01)  # a disk takes its time, and the adapter is at work meanwhile
        await self.announced(opened.id, where)
        return self.approvals[opened.id]

    async def step(self, id: str, step: Step, **changes: Any) -> Approval:
        """Let something happen to an approval."""
        changed = replace(self.approvals[id], **changes)
        changed = replace(changed, state=after(changed.state, step))
        if changed.state.final:
            changed = replace(changed, ended=time.time())
        self.approvals[id] = changed
        if self.adapter is not None:
            await self.adapter.tell(changed)
        return changed

    def workflow(self, approval: Approval) -> Workflow | None:
        return self.workflows.get(approval.asked.workflow)

    def pending(self) -> Sequence[Approval]:
        open_states = (State.PENDING, State.APPROVED)
        return [each for each in self.approvals.values() if each.state in open_states]

    def recent(self) -> Sequence[Approval]:
        return [each for each in self.approvals.values() if each.state.final]

    def find(self, id: str) -> Approval | None:
        return self.approvals.get(id)

    async def vote(self, id: str, vote: Vote) -> Approval:
        self.votes.append(vote)
        found = self.approvals[id]
        if vote.verdict is Verdict.REJECT:
            after(found.state, Step.REJECT)
            voted = found.voted(vote)
            return await self.step(
                id, Step.REJECT, votes=voted.votes, decided=vote.at, reason=vote.reason
            )
        after(found.state, Step.APPROVE)
        voted = found.voted(vote)
        self.approvals[id] = voted
        if len(voted.approvers) < voted.required:
            return voted
        return await self.step(id, Step.APPROVE, decided=vote.at, valid_until=vote.at + 300)

    async def announced(self, id: str, where: str) -> None:
        self.approvals[id] = replace(self.approvals[id], announced=where)
