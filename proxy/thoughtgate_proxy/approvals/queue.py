"""The approvals of one channel, as that channel sees them."""

from collections.abc import Callable, Mapping, Sequence

from thoughtgate_proxy.approvals.registry import ApprovalRegistry
from thoughtgate_proxy.core.approval import Approval, NoSuchTransition, State, Vote
from thoughtgate_proxy.core.config.values import Workflow

Workflows = Callable[[], Mapping[str, Workflow]]
"""The workflows now in force, by name."""


class ApprovalQueue:
    """What a channel was asked, and its votes. No other channel's approvals can be reached here."""

    def __init__(self, channel: str, registry: ApprovalRegistry, workflows: Workflows) -> None:
        """`channel` is the name that workflows give as their `adapter`."""
        self._channel, self._registry, self._workflows = channel, registry, workflows

    def workflow(self, approval: Approval) -> Workflow | None:
        """The workflow now in force under the approval's name, if it still asks this channel."""
        found = self._workflows().get(approval.asked.workflow)
        return found if found is not None and found.adapter == self._channel else None

    def pending(self) -> Sequence[Approval]:
        """What was asked here and nobody has settled yet, oldest first.

        An approval that was given and not yet used is here too: a rejection may still come.
        """
        states = (State.PENDING, State.APPROVED)
        return [a for a in self._registry.open() if a.state in states and self._ours(a)]

    def recent(self) -> Sequence[Approval]:
        """What was asked here and has ended lately, newest first."""
        return [a for a in self._registry.recent() if self._ours(a)]

    def find(self, id: str) -> Approval | None:
        """One of those, or one that is being sent."""
        try:
            found = self._registry.get(id)
        except KeyError:
            return None
        return found if self._ours(found) and found.call.body else None

    async def vote(self, id: str, vote: Vote) -> Approval:
        """Count a vote, on disk before it returns.

        The same verdict of the same approver counts once, however often it is given. Raises
        `NoSuchTransition` if it comes too late, and `StoreUnavailable`: then it does not count, and
        may be tried again.
        """
        found = self.find(id)
        workflow = None if found is None else self.workflow(found)
        if workflow is None:
            raise NoSuchTransition(f"no approval `{id}` is open here")
        return await self._registry.vote(id, vote, workflow.required, workflow.valid_for)

    async def set_message_ref(self, id: str, ref: str) -> None:
        """Keep a new note of where the humans were asked, as after a message was replaced.

        Raises `StoreUnavailable`.
        """
        if self.find(id) is not None:
            await self._registry.note(id, message_ref=ref)

    def _ours(self, approval: Approval) -> bool:
        return approval.asked.adapter == self._channel
