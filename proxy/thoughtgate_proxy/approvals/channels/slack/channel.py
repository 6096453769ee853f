"""Slack as a channel at work: it asks, looks for reactions, and says what became of it."""

import asyncio
from collections.abc import Callable
from typing import Final

from thoughtgate_proxy.approvals.channels.channel import AskFailed
from thoughtgate_proxy.approvals.channels.slack import blocks
from thoughtgate_proxy.approvals.channels.slack.account import Account
from thoughtgate_proxy.approvals.channels.slack.client import Client
from thoughtgate_proxy.approvals.channels.slack.errors import SlackError, cannot_ask
from thoughtgate_proxy.approvals.channels.slack.history import HistoryReader
from thoughtgate_proxy.approvals.channels.slack.message_ref import MessageRef
from thoughtgate_proxy.approvals.channels.slack.poller import Pace, Poller
from thoughtgate_proxy.approvals.channels.slack.publisher import Publisher
from thoughtgate_proxy.approvals.channels.slack.reporter import Reporter
from thoughtgate_proxy.approvals.channels.slack.updater import Updater
from thoughtgate_proxy.approvals.channels.slack.users import Users
from thoughtgate_proxy.approvals.channels.slack.workflow import SlackWorkflow
from thoughtgate_proxy.approvals.queue import ApprovalQueue
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.core.approval import Approval
from thoughtgate_proxy.telemetry.log import Level, Log
from thoughtgate_proxy.telemetry.metrics import Metrics

# An agent waits meanwhile, most often on a hold of 50 s.
ASK_SECONDS: Final = 25.0
EVERY_FEW_SECONDS: Final = Pace()
_SETTLE_SECONDS: Final = 1.0
# A message that is changed again and again by somebody else is not asked for ever.
_MOST_REPLACED: Final = 3


class SlackChannel:
    """Asks in Slack (`approvals.channels.channel.Channel`)."""

    def __init__(
        self,
        queue: ApprovalQueue,
        account: Account,
        log: Log,
        metrics: Metrics,
        ready: asyncio.Event,
        *,
        wall: Callable[[], float],
        now: Callable[[], float],
        random: Callable[[], float],
        pace: Pace = EVERY_FEW_SECONDS,
        ask_seconds: float = ASK_SECONDS,
        settle_seconds: float = _SETTLE_SECONDS,
    ) -> None:
        """`wall` gives Unix time, `now` seconds that never go back, `random` numbers 0 to 1.

        `ready` is set when the process serves. Slack's library, which costs a small pod a second of
        CPU, is loaded then, or for the first request.
        """
        self._queue, self._ready, self._ask_seconds = queue, ready, ask_seconds
        self._reporter = Reporter(log, metrics, now)
        self._client = Client(account, random, self._reporter.limited)
        history = HistoryReader(self._client, now)
        self._publisher = Publisher(self._client, history, wall, now)
        self._updater = Updater(
            self._client, history, self._publisher, queue, self._reporter, settle_seconds
        )
        self._poller = Poller(
            self._client, history, Users(self._client, now), queue, self._reporter,
            self._replace, pace=pace, wall=wall, random=random,
        )  # fmt: skip
        self._replaced: dict[str, int] = {}

    async def ask(self, approval: Approval) -> str:
        """Post the question; gives its place. Raises `AskFailed`."""
        workflow = self._queue.workflow(approval)
        if not isinstance(workflow, SlackWorkflow):
            raise AskFailed(
                f"the workflow `{approval.asked.workflow}` names no Slack channel any more",
                "slack_channel",
            )
        try:
            place = await self._post(approval, workflow)
        except SlackError as trouble:
            self._reporter.trouble("asking", trouble)
            in_doubt = self._publisher.in_doubt(approval)
            raise cannot_ask(trouble, workflow.channel, in_doubt=in_doubt) from trouble
        self._reporter.well("asking")
        self._poller.wake()
        return str(place)

    async def update(self, approval: Approval) -> None:
        """Have the message updated, soon."""
        self._updater.update(approval)
        if approval.state.final:
            self._replaced.pop(approval.id, None)

    async def run(self) -> None:
        """Look for decisions and update messages, until cancelled."""
        await self._ready.wait()
        try:
            await self._client.connect()
        except SlackError as trouble:
            # Told before the first request meets it; that one tries again.
            self._reporter.trouble("connecting", trouble)
        for approval in (*self._queue.pending(), *self._queue.recent()):
            self._updater.update(approval)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._poller.run())
                both.create_task(self._updater.run())
        finally:
            await self._client.close()

    async def _post(
        self,
        approval: Approval,
        workflow: SlackWorkflow,
        note: str = "",
        in_place_of: str | None = None,
    ) -> MessageRef:
        until = asyncio.get_running_loop().time() + self._ask_seconds
        # Arguments of a megabyte take a while to write out.
        asked = await asyncio.to_thread(blocks.question, approval, workflow, note)
        return await self._publisher.post(approval, workflow, asked, until, in_place_of)

    async def _replace(self, approval: Approval, place: MessageRef, why: str) -> None:
        """Ask anew, as the message that asked was `deleted` or `changed` by somebody else."""
        done = self._replaced.get(approval.id, 0)
        workflow = self._queue.workflow(approval)
        if not isinstance(workflow, SlackWorkflow) or done >= _MOST_REPLACED:
            return
        self._replaced[approval.id] = done + 1
        self._reporter.event(
            f"a message that asks was {why} by somebody else: no reaction on it counts",
            Level.WARNING,
            approval=approval.id,
            place=approval.message_ref,
            replaced=done + 1,
        )
        note = f"An earlier message of this request was {why}; only this one counts."
        try:
            new = await self._post(approval, workflow, note, place.ts)
        except SlackError as trouble:
            self._reporter.trouble("asking anew", trouble)
            self._replaced[approval.id] = done
            return
        try:
            await self._queue.set_message_ref(approval.id, str(new))
        except StoreUnavailable as error:
            # The new message is found in the channel, and taken up, at the next look.
            self._publisher.doubt(approval)
            self._reporter.event(
                "the place of a new message could not be kept",
                Level.WARNING, approval=approval.id, reason=str(error),
            )  # fmt: skip
