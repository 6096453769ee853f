"""The seam between the desk, which keeps approvals, and the adapters, which ask humans.

An adapter knows its people: it says who voted only for those who may decide under the workflow in
force. The desk counts, writes down, and says what became of it.
"""

from collections.abc import Sequence
from typing import Protocol

from thoughtgate_proxy.core.approval import Approval, Vote
from thoughtgate_proxy.core.config.values import Workflow


class AskFailed(Exception):
    """The humans could not be told; `reason` is one line for the agent and the log."""

    def __init__(self, reason: str, kind: str) -> None:
        """`kind` is a short word for the metric, such as `slack_auth` or `slack_channel`."""
        super().__init__(reason)
        self.reason, self.kind = reason, kind


class StoreUnavailable(Exception):
    """What was asked for cannot be written or read; the message says why, in one line."""


class Docket(Protocol):
    """The desk as an adapter sees it."""

    def workflow(self, approval: Approval) -> Workflow | None:
        """The workflow now in force under the approval's name; None if there is none any more."""

    def pending(self) -> Sequence[Approval]:
        """What this adapter was asked and nobody has settled yet, oldest first.

        An approval that was given and not yet used is here too: a rejection may still come.
        """

    def recent(self) -> Sequence[Approval]:
        """What this adapter was asked and has ended lately, newest first."""

    def find(self, id: str) -> Approval | None:
        """One of the above."""

    async def vote(self, id: str, vote: Vote) -> Approval:
        """Count a vote, on disk before it returns.

        The same word of the same approver counts once, however often it is said. Raises
        `NoSuchStep` if it comes too late, and `StoreUnavailable`: then it does not count, and may
        be tried again.
        """

    async def announced(self, id: str, where: str) -> None:
        """Keep a new note of where the humans were told, as after a message was replaced.

        Raises `StoreUnavailable`.
        """


class Channel(Protocol):
    """One way of asking humans: Slack, the page."""

    async def ask(self, approval: Approval) -> str:
        """Tell the humans; gives the note to keep in `Approval.announced`. Raises `AskFailed`.

        May be called again with the same approval after an unknown outcome (we were killed between
        telling and writing it down): the humans must not be asked twice.
        """

    async def tell(self, approval: Approval) -> None:
        """Say what became of it, each time that its state changes. Does not raise."""

    async def run(self) -> None:
        """Look for decisions, until cancelled."""
