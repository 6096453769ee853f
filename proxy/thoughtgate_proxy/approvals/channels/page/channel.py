"""The page's channel: what each approver sees of its queue, and their votes.

It knows no HTTP; `listeners.approvals` does.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

from thoughtgate_proxy.approvals.channels.channel import AskFailed
from thoughtgate_proxy.approvals.channels.page import views
from thoughtgate_proxy.approvals.channels.page.tokens import Approver, Approvers, Reading
from thoughtgate_proxy.approvals.queue import ApprovalQueue
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.core.approval import Approval, NoSuchTransition, State, Vote, VoteValue
from thoughtgate_proxy.core.config.values import Workflow
from thoughtgate_proxy.telemetry.log import Level, Log

_RECENT = 50
_BIG = 1 << 16

View = dict[str, Any]


class VoteRefused(Exception):
    """A vote that does not count; `code` is for programs, the message for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class NotFound(VoteRefused):
    """No approval has that id, or none that this page may show."""

    def __init__(self) -> None:
        super().__init__("not_found", "no such request; it may have been forgotten since it ended")


class PageChannel:
    """Asks humans by showing them a page (`approvals.channels.channel.Channel`)."""

    def __init__(
        self,
        queue: ApprovalQueue,
        approvers: Approvers,
        now: Callable[[], float],
        serve: Callable[["PageChannel"], Awaitable[None]],
        log: Log,
    ) -> None:
        """`now` gives Unix time in seconds; `serve` is as in `ChannelContext.serve_page`."""
        self._queue, self._now, self._serve, self._log = queue, now, serve, log
        self.approvers = approvers
        self._trouble: str | None = None
        """Why the page cannot be served, if it cannot."""
        # Of this process alone: a view of the one before must not wait for this one's numbers.
        self._boot, self._number = os.urandom(4).hex(), 0
        self._news = asyncio.Event()
        self._previews = views.Previews()
        self._sending: set[str] = set()
        """The queue has them under their id alone."""

    async def ask(self, approval: Approval) -> str:
        """Show it; nothing is left pending that nobody could decide. Raises `AskFailed`."""
        if self._trouble is not None:
            raise AskFailed(f"the approvals page is not there: {self._trouble}", "page_port")
        names = self.approvers.names
        if not names:
            raise AskFailed("nobody has a token for the approvals page", "page_tokens")
        workflow = self._queue.workflow(approval)
        if workflow is not None and workflow.approvers is not None:
            able = len(names.intersection(workflow.approvers))
            if able < approval.required:
                reason = (
                    f"{able} of the listed approvers of `{approval.asked.workflow}` "
                    f"{'has' if able == 1 else 'have'} a token for the approvals page, and "
                    f"{approval.required} must approve"
                )
                raise AskFailed(reason, "page_approvers")
        self.wake()
        return "page"

    async def update(self, approval: Approval) -> None:
        """Let the views show what became of it."""
        self._sending.discard(approval.id)
        if approval.state is State.SENDING:
            self._sending.add(approval.id)
        self.wake()

    async def run(self) -> None:
        """Serve the page: decisions come by themselves."""
        try:
            self._trouble = None
            await self._serve(self)
        except OSError as error:
            self._trouble = error.strerror or str(error)
            self._log.event("the approvals page cannot listen", Level.ERROR, reason=self._trouble)

    def wake(self) -> None:
        """Let every view that waits look again."""
        self._number += 1
        self._news.set()
        self._news = asyncio.Event()

    @property
    def version(self) -> str:
        """Changes with whatever a view shows, its clock aside."""
        return f"{self._boot}-{self._number}"

    async def newer(self, version: str, seconds: float) -> None:
        """Wait until there is another version than `version`, `seconds` at most."""
        if version == self.version:
            try:
                await asyncio.wait_for(self._news.wait(), seconds)
            except TimeoutError:
                return

    def listing(self, approver: Approver) -> View:
        """Everything in short: what waits, oldest first, and what ended, newest first."""
        sending = [found for id in self._sending if (found := self._queue.find(id)) is not None]
        pending = sorted((*self._queue.pending(), *sending), key=lambda one: one.opened)
        recent = self._queue.recent()[:_RECENT]
        return {
            "version": self.version,
            "now": self._now(),
            "you": approver.name,
            "pending": [self._summary(approval, approver) for approval in pending],
            "recent": [self._summary(approval, approver) for approval in recent],
        }

    async def details(self, id: str, approver: Approver) -> View:
        """One request with its exact call. Raises `NotFound`."""
        approval = self._find(id)
        workflow = self._queue.workflow(approval)
        if len(approval.call.body) > _BIG:
            # A large body takes a while; other requests go on meanwhile.
            call = await asyncio.to_thread(views.exact_call, approval, workflow)
        else:
            call = views.exact_call(approval, workflow)
        return {"now": self._now(), **self._summary(approval, approver), **call}

    async def vote(
        self, id: str, digest: str, approver: Approver, verdict: VoteValue, reason: str
    ) -> View:
        """Count a vote on exactly the call with that digest. Raises `VoteRefused`."""
        approval = self._find(id)
        if digest != approval.call.digest:
            raise VoteRefused("other_call", "this is not the call that you were shown: look again")
        workflow = self._queue.workflow(approval)
        if wrong := cannot(approval, workflow, approver.name):
            raise VoteRefused("not_yours", wrong)
        if views.word_of(approval, approver.name) is not verdict or approval.state.final:
            try:
                approval = await self._queue.vote(
                    id, Vote(approver.name, approver.name, verdict, self._now(), reason)
                )
            except NoSuchTransition as error:
                late = f"too late: the request is already {_was(approval, self._queue.find(id))}"
                raise VoteRefused("too_late", late) from error
            except StoreUnavailable as error:
                raise VoteRefused("not_kept", f"the vote cannot be kept: {error}") from error
        self.wake()
        return {"now": self._now(), **self._summary(approval, approver)}

    def _find(self, id: str) -> Approval:
        approval = self._queue.find(id)
        if approval is None:
            raise NotFound
        return approval

    def _summary(self, approval: Approval, approver: Approver) -> View:
        workflow = self._queue.workflow(approval)
        wrong = cannot(approval, workflow, approver.name)
        return {
            **views.summary(approval),
            "preview": self._previews.of(approval, workflow),
            "may": [] if wrong else _may(approval, approver.name),
            "may_not": wrong,
        }


_STEPS: Final = {
    State.PENDING: (VoteValue.APPROVE, VoteValue.REJECT),
    # It has not gone yet: a rejection still stops it.
    State.APPROVED: (VoteValue.REJECT,),
}


def _may(approval: Approval, name: str) -> list[str]:
    """The words that would change something."""
    given = views.word_of(approval, name)
    return [step.value for step in _STEPS.get(approval.state, ()) if step is not given]


def cannot(approval: Approval, workflow: Workflow | None, name: str) -> str | None:
    """Why that approver may not decide under the workflow now in force; None if they may."""
    called = approval.asked.workflow
    if workflow is None:
        return f"the workflow `{called}` is not in the configuration any more"
    if workflow.approvers is not None and name not in workflow.approvers:
        return f"only the listed approvers of `{called}` may decide, and you are not among them"
    return None


def _was(before: Approval, now: Approval | None) -> str:
    return (now or before).state.value


def log_change(log: Log, reading: Reading) -> None:
    """Say what the file of tokens says now."""
    facts = {"mistakes": reading.mistakes} if reading.mistakes else {}
    log.event(
        "the approvers' tokens changed", Level.ERROR if facts else Level.INFO,
        approvers=sorted({approver.name for approver in reading.approvers}), **facts,
    )  # fmt: skip
