"""A docket in memory, which goes by the state machine's table as the desk does."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from thoughtgate_proxy.approvals.adapter import Asking
from thoughtgate_proxy.core.approval import (
    Approval,
    Asked,
    Call,
    Ending,
    State,
    Step,
    Verdict,
    Vote,
    after,
)
from thoughtgate_proxy.core.config.values import Adapter, Kind, Workflow

ENDINGS = {
    Step.EXPIRE: Ending.TIMED_OUT,
    Step.CANCEL: Ending.CANCELLED,
    Step.REJECT: Ending.REJECTED,
    Step.FINISH: Ending.DONE,
    Step.CUT: Ending.UNKNOWN,
}


class MemoryDocket:
    """Approvals in a dict; `now` may be set."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.workflows = {"default": Workflow(adapter=Adapter.PAGE)}
        self.asking: Asking | None = None
        self.kept: dict[str, Approval] = {}
        self.votes: list[Vote] = []

    def workflow(self, approval: Approval) -> Workflow | None:
        """As in the configuration in force."""
        return self.workflows.get(approval.asked.workflow)

    def pending(self) -> Sequence[Approval]:
        """Oldest first."""
        waiting = (State.PENDING, State.APPROVED)
        return [approval for approval in self.kept.values() if approval.state in waiting]

    def recent(self) -> Sequence[Approval]:
        """Newest first."""
        ended = [a for a in self.kept.values() if a.state.final]
        return sorted(ended, key=lambda approval: -(approval.ended or 0))

    def find(self, id: str) -> Approval | None:
        """One of the above."""
        return self.kept.get(id)

    async def vote(self, id: str, vote: Vote) -> Approval:
        """Count it; approved once enough have approved, rejected at the first rejection."""
        before = self.kept[id]
        step = Step.APPROVE if vote.verdict is Verdict.APPROVE else Step.REJECT
        after(before.state, step)
        self.votes.append(vote)
        now = before.voted(vote)
        if step is Step.REJECT:
            now = replace(now, state=State.REJECTED, ended=self.now, reason=vote.reason)
        elif len(now.approvers) >= now.required:
            now = replace(now, state=State.APPROVED, decided=self.now, valid_until=self.now + 300)
        await self.put(now)
        return now

    async def announced(self, id: str, where: str) -> None:
        """Keep the note."""
        self.kept[id] = replace(self.kept[id], announced=where)

    async def put(self, approval: Approval) -> None:
        """Keep it as it is, and tell the adapter."""
        new = approval.id not in self.kept
        self.kept[approval.id] = approval
        if self.asking is not None:
            await (self.asking.ask(approval) if new else self.asking.tell(approval))

    async def step(self, id: str, step: Step) -> None:
        """What the desk would do by itself. Raises `NoSuchStep`."""
        state = after(self.kept[id].state, step)
        ended, ending = (self.now, ENDINGS[step]) if state.final else (None, None)
        await self.put(replace(self.kept[id], state=state, ended=ended, ending=ending))

    async def open(
        self,
        name: str = "delete_user",
        arguments: dict[str, Any] | bytes | None = None,
        *,
        id: str | None = None,
        lasts: float = 600.0,
        required: int = 1,
        **asked: Any,
    ) -> Approval:
        """A new request for approval of that call; `asked` goes into `Asked`."""
        given = {"user_id": "u-1029"} if arguments is None else arguments
        text = given if isinstance(given, bytes) else json.dumps(given).encode()
        params = b'{"name":%b,"arguments":%b}' % (json.dumps(name).encode(), text)
        body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%b}' % params
        number = len(self.kept) + 1
        facts: dict[str, Any] = {
            "workflow": "default",
            "adapter": Adapter.PAGE,
            "reason": f"rule 0 (`delete_*`) asks a human about `{name}`",
            "gate": "rules",
            "rule": 0,
            "match": "delete_*",
            "description": "Deletes a user for good.",
            "namespace": "my-namespace",
            "pod": "my-agent-7f9c4",
            "correlation": f"5d1c0e2a{number:08x}",
        }
        approval = Approval(
            id=id or hashlib.sha256(b"%d" % number).hexdigest()[:24],
            call=Call(
                principal="data-engineering/my-agent", source="upstream",
                method="tools/call", kind=Kind.TOOL, name=name, target="/", body=body,
                digest=hashlib.sha256(body).hexdigest(),
            ),
            asked=Asked(**{**facts, **asked}),
            opened=self.now, expires=self.now + lasts, required=required,
        )  # fmt: skip
        await self.put(approval)
        return approval
