"""A channel that asks by files in a folder: all that the product needs of one, and no more."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from thoughtgate_proxy.approvals.channels.channel import (
    AskFailed,
    ChannelContext,
    ChannelReport,
    ChannelSettings,
    ChannelType,
)
from thoughtgate_proxy.approvals.queue import ApprovalQueue
from thoughtgate_proxy.core.approval import Approval, Vote, VoteValue
from thoughtgate_proxy.core.config.mistakes import Place, found
from thoughtgate_proxy.core.config.values import Workflow, about


class ToyWorkflow(Workflow, frozen=True, kw_only=True):
    """A workflow whose humans look into a folder."""

    mailbox: Annotated[str, about("the folder where questions are put")]


@dataclass
class ToyChannel:
    """A question is a file `ID`; who answers writes `NAME approve` into `ID.vote`."""

    queue: ApprovalQueue
    key: str

    async def ask(self, approval: Approval) -> str:
        """Put the question."""
        workflow = self.queue.workflow(approval)
        if not isinstance(workflow, ToyWorkflow):
            raise AskFailed("there is no mailbox any more", "toy_mailbox")
        question = f"{workflow.mailbox}/{approval.id}"
        _write(question, f"{self.key}: {approval.call.name}")
        return question

    async def update(self, approval: Approval) -> None:
        """Say what became of it."""
        if approval.message_ref is not None:
            _write(f"{approval.message_ref}.state", approval.state.value)

    async def run(self) -> None:
        """Look for votes."""
        while True:
            for approval in self.queue.pending():
                if found := _taken(Path(f"{approval.message_ref}.vote")):
                    name, verdict = found.split()
                    await self.queue.vote(approval.id, Vote(name, name, VoteValue(verdict), 1.0))
            await asyncio.sleep(0.01)


def _write(path: str, text: str) -> None:
    Path(path).write_text(text)


def _taken(path: Path) -> str:
    if not path.exists():
        return ""
    text = path.read_text()
    path.unlink()
    return text


def _key(settings: ChannelSettings) -> Path:
    return settings.secrets / "toy-key"


def _make(queue: ApprovalQueue, context: ChannelContext) -> ToyChannel:
    return ToyChannel(queue, _key(context.settings).read_text())


def _validate(workflow: Workflow) -> Iterable[tuple[Place, str]]:
    assert isinstance(workflow, ToyWorkflow)
    if not workflow.mailbox.startswith("/"):
        yield ("mailbox",), f"found {found(workflow.mailbox)}; allowed: an absolute path"


def _check(workflows: Mapping[str, Workflow], settings: ChannelSettings) -> ChannelReport:
    if _key(settings).exists():
        return ChannelReport()
    return ChannelReport(
        [(f"approval.{name}", "there is no key for the toy") for name in workflows]
    )


def _check_online(workflows: Mapping[str, Workflow], _: ChannelSettings) -> ChannelReport:
    return ChannelReport(notes=[f"asked for {', '.join(workflows)}"])


TOY: Final = ChannelType(
    keys=ToyWorkflow,
    approver="[a-z]+",
    approver_form="is no name; allowed: small letters",
    anyone="with access to the mailbox",
    make=_make,
    validate=_validate,
    check=_check,
    check_online=_check_online,
)
