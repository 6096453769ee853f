"""The Slack adapter, as the desk sees it."""

import asyncio
from collections.abc import Callable
from typing import Final

from thoughtgate_proxy.approvals.channels.channel import AskFailed, Docket, StoreUnavailable
from thoughtgate_proxy.approvals.channels.slack import blocks
from thoughtgate_proxy.approvals.channels.slack.client import Account, Client
from thoughtgate_proxy.approvals.channels.slack.errors import SlackError, cannot_ask
from thoughtgate_proxy.approvals.channels.slack.history import HistoryReader
from thoughtgate_proxy.approvals.channels.slack.message_ref import MessageRef
from thoughtgate_proxy.approvals.channels.slack.poller import Pace, Poller
from thoughtgate_proxy.approvals.channels.slack.publisher import Publisher
from thoughtgate_proxy.approvals.channels.slack.reporter import Reporter
from thoughtgate_proxy.approvals.channels.slack.updater import Updater
from thoughtgate_proxy.approvals.channels.slack.users import Users
from thoughtgate_proxy.core.approval import Approval
from thoughtgate_proxy.core.config.values import Workflow
from thoughtgate_proxy.telemetry.log import Level, Log
from thoughtgate_proxy.telemetry.metrics import Metrics

# An agent waits meanwhile, most often on a hold of 50 s.
ASK_SECONDS: Final = 25.0
EVERY_FEW_SECONDS: Final = Pace()
_SETTLE_SECONDS: Final = 1.0
# A message that is changed again and again by somebody else is not asked for ever.
_MOST_REPLACED: Final = 3


class SlackChannel:
    """Asks in Slack; see `approvals.adapter.Asking`."""

    def __init__(
        self,
        docket: Docket,
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
        self._docket, self._ready, self._ask_seconds = docket, ready, ask_seconds
        self._reporter = Reporter(log, metrics, now)
        self._client = Client(account, random, self._reporter.limited)
        reader = HistoryReader(self._client, now)
        self._poster = Publisher(self._client, reader, wall, now)
        self._teller = Updater(
            self._client, reader, self._poster, docket, self._reporter, settle_seconds
        )
        self._poller = Poller(
            self._client, reader, Users(self._client, now), docket, self._reporter,
            self._replace, pace=pace, wall=wall, random=random,
        )  # fmt: skip
        self._replaced: dict[str, int] = {}

    async def ask(self, approval: Approval) -> str:
        """Post the question; gives its place. Raises `AskFailed`."""
        workflow = self._docket.workflow(approval)
        if workflow is None or workflow.channel is None:
            raise AskFailed(
                f"the workflow `{approval.asked.workflow}` names no Slack channel any more",
                "slack_channel",
            )
        try:
            place = await self._post(approval, workflow)
        except SlackError as trouble:
            self._reporter.trouble("asking", trouble)
            in_doubt = self._poster.in_doubt(approval)
            raise cannot_ask(trouble, workflow.channel, in_doubt=in_doubt) from trouble
        self._reporter.well("asking")
        self._poller.wake()
        return str(place)

    async def tell(self, approval: Approval) -> None:
        """Have the message updated, soon."""
        self._teller.tell(approval)
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
        for approval in (*self._docket.pending(), *self._docket.recent()):
            self._teller.tell(approval)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._poller.run())
                both.create_task(self._teller.run())
        finally:
            await self._client.close()

    async def _post(
        self,
        approval: Approval,
        workflow: Workflow,
        note: str = "",
        in_place_of: str | None = None,
    ) -> MessageRef:
        until = asyncio.get_running_loop().time() + self._ask_seconds
        # Arguments of a megabyte take a while to write out.
        asked = await asyncio.to_thread(blocks.asking, approval, workflow, note)
        return await self._poster.post(approval, workflow, asked, until, in_place_of)

    async def _replace(self, approval: Approval, place: MessageRef, why: str) -> None:
        """Ask anew, as the message that asked was `deleted` or `changed` by somebody else."""
        done = self._replaced.get(approval.id, 0)
        workflow = self._docket.workflow(approval)
        if workflow is None or workflow.channel is None or done >= _MOST_REPLACED:
            return
        self._replaced[approval.id] = done + 1
        self._reporter.event(
            f"a message that asks was {why} by somebody else: no reaction on it counts",
            Level.WARNING,
            approval=approval.id,
            place=approval.announced,
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
            await self._docket.announced(approval.id, str(new))
        except StoreUnavailable as error:
            # The new message is found in the channel, and taken up, at the next look.
            self._poster.doubt(approval)
            self._reporter.event(
                "the place of a new message could not be kept",
                Level.WARNING, approval=approval.id, reason=str(error),
            )  # fmt: skip
