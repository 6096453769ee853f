"""Writes into each message what became of its request."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from thoughtgate_proxy.approvals.channels.slack import blocks
from thoughtgate_proxy.approvals.channels.slack.client import Client
from thoughtgate_proxy.approvals.channels.slack.errors import RateLimited, SlackRefused, Unreachable
from thoughtgate_proxy.approvals.channels.slack.history import HistoryReader
from thoughtgate_proxy.approvals.channels.slack.message_ref import MessageRef, changed
from thoughtgate_proxy.approvals.channels.slack.publisher import Publisher
from thoughtgate_proxy.approvals.channels.slack.reporter import Reporter
from thoughtgate_proxy.approvals.channels.slack.workflow import SlackWorkflow
from thoughtgate_proxy.approvals.queue import ApprovalQueue
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.core.approval import Approval, State
from thoughtgate_proxy.telemetry.log import Level

_DOING: Final = "saying what became of a request"
# A workspace can forbid that messages be changed after a while.
_NO_LONGER = frozenset({"edit_window_closed", "cant_update_message"})


class Updater:
    """Of several changes in a row only the last is told; what fails is tried until it is told."""

    def __init__(
        self,
        client: Client,
        history: HistoryReader,
        publisher: Publisher,
        queue: ApprovalQueue,
        reporter: Reporter,
        settle: float,
    ) -> None:
        """`settle` is how long, in seconds, a further change is awaited before one is told."""
        self._client, self._history, self._publisher = client, history, publisher
        self._queue, self._reporter, self._settle = queue, reporter, settle
        self._changed: dict[str, Approval] = {}
        self._news = asyncio.Event()

    def update(self, approval: Approval) -> None:
        """Take note of a new state, or of one that was perhaps never told."""
        place = MessageRef.read(approval.message_ref)
        if approval.state is State.PENDING or (place and place.says == approval.state.value):
            return
        if place is None and not self._publisher.in_doubt(approval):
            return
        self._changed[approval.id] = approval
        self._news.set()

    async def run(self) -> None:
        """Tell, until cancelled."""
        pause = self._settle
        while True:
            await self._news.wait()
            await asyncio.sleep(pause)
            self._news.clear()
            pause = self._settle
            for id in list(self._changed):
                approval = self._changed.pop(id)
                try:
                    await self._update(approval)
                except (Unreachable, RateLimited) as trouble:
                    self._reporter.trouble(_DOING, trouble)
                    self._changed.setdefault(id, approval)
                    self._news.set()
                    pause = 10 * self._settle
                    break
                except SlackRefused as refused:
                    self._reporter.trouble(_DOING, refused)
                else:
                    self._reporter.well(_DOING)

    async def _update(self, approval: Approval) -> None:
        # It may have got a new place, or a new state, since.
        approval = self._queue.find(approval.id) or approval
        workflow = self._queue.workflow(approval)
        place = MessageRef.read(approval.message_ref)
        if place is None and isinstance(workflow, SlackWorkflow):
            channel = await self._publisher.channel(workflow.channel)
            place = await self._publisher.find(approval, channel)
        if place is None or place.says == approval.state.value:
            return
        standing = () if approval.call.body else await self._standing(place)
        message = await asyncio.to_thread(blocks.outcome, approval, workflow, standing)
        try:
            answer = await self._client.call(
                "chat.update",
                channel=place.channel,
                ts=place.ts,
                text=message.text,
                blocks=list(message.blocks),
            )
        except SlackRefused as refused:
            if refused.error not in _NO_LONGER:
                raise
            answer = {"message": {}}
            await self._client.call(
                "chat.postMessage",
                channel=place.channel,
                thread_ts=place.ts,
                text=message.text,
                blocks=list(message.blocks[:1]),
            )
        ref = place.saying(approval.state.value, answer.get("message") or {})
        if approval.message_ref is not None:
            # Without the note it is told once more after a restart, in the same words.
            with contextlib.suppress(StoreUnavailable):
                await self._queue.set_message_ref(approval.id, str(ref))
        self._reporter.event(
            "slack message updated", Level.DEBUG, approval=approval.id, state=approval.state.value
        )

    async def _standing(self, place: MessageRef) -> Sequence[blocks.Block]:
        found = (await self._history.messages(place.channel, [place.ts]))[place.ts]
        if found is None or changed(found, place, await self._client.connect()):
            return ()
        return found.get("blocks") or ()
