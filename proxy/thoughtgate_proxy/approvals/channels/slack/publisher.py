"""Puts a question into a channel, once."""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from thoughtgate_proxy.approvals.channels.slack.blocks import EVENT_TYPE, Message
from thoughtgate_proxy.approvals.channels.slack.client import Client, Me
from thoughtgate_proxy.approvals.channels.slack.errors import SlackRefused, Unreachable
from thoughtgate_proxy.approvals.channels.slack.history import HistoryReader
from thoughtgate_proxy.approvals.channels.slack.message_ref import MessageRef, digest
from thoughtgate_proxy.approvals.channels.slack.workflow import GROUP, SlackWorkflow
from thoughtgate_proxy.core.approval import Approval

CHANNEL_ID = re.compile(r"[CDG][A-Z0-9]{2,20}")
NEEDED: Final = ("chat:write", "reactions:read", "users:read")
"""The scopes without which nobody could be asked, or no answer be understood."""
_TYPES = {"channels:read": "public_channel", "groups:read": "private_channel"}
_KEPT_SECONDS: Final = 300.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 4.0
# Slack may still be at work on a post that it did not answer.
_UNKNOWN_PAUSE = 2.0


class Publisher:
    """Posts questions, and knows which may stand there already."""

    def __init__(
        self,
        client: Client,
        history: HistoryReader,
        wall: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        """`wall` gives Unix time, `now` seconds that never go back."""
        self._client, self._history, self._now = client, history, now
        self._since = wall()
        self._doubtful: set[str] = set()
        self._uploaded: set[str] = set()
        self._channels: dict[str, tuple[float, str]] = {}

    def in_doubt(self, approval: Approval) -> bool:
        """Whether a message may stand in the channel that was never heard of again."""
        return approval.id in self._doubtful or approval.opened < self._since

    def doubt(self, approval: Approval) -> None:
        """A message of it stands in the channel that nobody wrote down."""
        self._doubtful.add(approval.id)

    async def post(
        self,
        approval: Approval,
        workflow: SlackWorkflow,
        message: Message,
        until: float,
        in_place_of: str | None = None,
    ) -> MessageRef:
        """Where the question stands now, or stood already. Raises `SlackError`.

        `until`, in the event loop's time, is when to give up; `in_place_of` the id of a message
        that asks no more.
        """
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._once(approval, workflow, message, until, in_place_of)
            except Unreachable as trouble:
                if trouble.sent:
                    pause = max(pause, _UNKNOWN_PAUSE)
                if loop.time() + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def find(self, approval: Approval, channel: str) -> MessageRef | None:
        """The newest message of that request, whatever it says. Raises `SlackError`."""
        found = await self._history.find_request(channel, approval.id, approval.opened)
        return None if found is None else MessageRef(channel, str(found["ts"]), digest(found))

    async def channel(self, configured: str, until: float | None = None) -> str:
        """A channel's id. Raises `SlackError`."""
        if CHANNEL_ID.fullmatch(configured):
            return configured
        kept = self._channels.get(configured)
        if kept is not None and self._now() - kept[0] < _KEPT_SECONDS:
            return kept[1]
        # Only those that the app is in: of all channels there may be tens of thousands.
        me = await self._client.connect(until)
        types = [kind for scope, kind in _TYPES.items() if me.may(scope)]
        if not types:
            raise SlackRefused("users.conversations", "missing_scope", "channels:read")
        cursor = None
        while True:
            page = await self._client.read(
                "users.conversations", until=until, types=",".join(types), limit=200,
                exclude_archived="true", cursor=cursor,
            )  # fmt: skip
            for channel in page.get("channels") or ():
                if channel.get("name") == configured.removeprefix("#"):
                    self._channels[configured] = (self._now(), str(channel["id"]))
                    return str(channel["id"])
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or None
            if cursor is None:
                raise SlackRefused("users.conversations", "not_in_channel")

    async def _once(
        self,
        approval: Approval,
        workflow: SlackWorkflow,
        message: Message,
        until: float,
        in_place_of: str | None,
    ) -> MessageRef:
        await self._able(workflow, until)
        channel = await self.channel(workflow.channel, until)
        if self.in_doubt(approval):
            found = await self.find(approval, channel)
            # It must ask what we ask: somebody may have changed it since.
            ours = digest({"blocks": message.blocks})
            if found is not None and found.ts != in_place_of and found.digest == ours:
                self._doubtful.discard(approval.id)
                return found
        if message.file is not None and approval.id not in self._uploaded:
            await self._client.upload(
                channel,
                message.file.name,
                message.file.text,
                "The whole of a request for approval, which follows.",
                until=until,
            )
            self._uploaded.add(approval.id)
        doubted = approval.id in self._doubtful
        self._doubtful.add(approval.id)
        try:
            answer = await self._client.call(
                "chat.postMessage",
                until=until,
                channel=channel,
                text=message.text,
                blocks=list(message.blocks),
                metadata={"event_type": EVENT_TYPE, "event_payload": {"id": approval.id}},
                unfurl_links=False,
                unfurl_media=False,
            )
        except Unreachable as trouble:
            if not trouble.sent and not doubted:
                self._doubtful.discard(approval.id)
            raise
        except SlackRefused:
            self._doubtful.discard(approval.id)
            raise
        self._doubtful.discard(approval.id)
        self._uploaded.discard(approval.id)
        kept = answer.get("message") or {"blocks": list(message.blocks)}
        return MessageRef(str(answer["channel"]), str(answer["ts"]), digest(kept))

    async def _able(self, workflow: SlackWorkflow, until: float) -> Me:
        me = await self._client.connect(until)
        if lacking(me, workflow):
            # An operator may have added it since.
            me = await self._client.connect(until, anew=True)
            for scope in lacking(me, workflow):
                raise SlackRefused("chat.postMessage", "missing_scope", scope)
        return me


def lacking(me: Me, workflow: SlackWorkflow) -> list[str]:
    """The scopes that the workflow cannot do without and the token does not have."""
    needed = list(NEEDED)
    for name in workflow.approvers or ():
        if "@" in name:
            needed.append("users:read.email")
        elif re.fullmatch(GROUP, name):
            needed.append("usergroups:read")
    return [scope for scope in dict.fromkeys(needed) if not me.may(scope)]
