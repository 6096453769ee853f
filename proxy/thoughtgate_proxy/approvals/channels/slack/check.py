"""Tells what is wrong with Slack's side of a configuration, before a request meets it."""

import asyncio
import re
from collections.abc import Coroutine, Mapping
from typing import Final

from thoughtgate_proxy.approvals.channels.channel import ChannelReport
from thoughtgate_proxy.approvals.channels.slack.account import Account
from thoughtgate_proxy.approvals.channels.slack.client import Client, Me
from thoughtgate_proxy.approvals.channels.slack.errors import SlackError, SlackRefused
from thoughtgate_proxy.approvals.channels.slack.history import HistoryReader
from thoughtgate_proxy.approvals.channels.slack.publisher import CHANNEL_ID, Publisher, lacking
from thoughtgate_proxy.approvals.channels.slack.users import Users
from thoughtgate_proxy.approvals.channels.slack.workflow import GROUP, SlackWorkflow
from thoughtgate_proxy.core.config.values import Workflow

# What goes without, and then goes how.
_BETTER: Final = {
    "files:write": "arguments of more than about 10,000 characters cannot be asked for",
    "channels:history": "in a public channel each pending request costs a call of its own, a "
    "rejection has no reason, and a post without an answer is given up",
    "groups:history": "the same in a private channel",
}


def check(account: Account, workflows: Mapping[str, Workflow]) -> ChannelReport:
    """Ask Slack about the workflows, by name, that ask there."""
    return asyncio.run(_check(account, workflows))


async def _check(account: Account, workflows: Mapping[str, Workflow]) -> ChannelReport:
    client = Client(account, lambda: 0.0, lambda _: None)
    found = ChannelReport()
    try:
        me = await client.connect()
        found.notes.append(
            f"the token is that of `{me.user_name}` ({me.user}) in `{me.team_name}` ({me.team})"
        )
        for scope, how in _BETTER.items():
            if not me.may(scope):
                found.notes.append(f"without the scope `{scope}` {how}")
        for name, workflow in workflows.items():
            assert isinstance(workflow, SlackWorkflow)  # noqa: S101  as the reader made it
            await _WorkflowCheck(client, me, f"approval.{name}", workflow, found).ask()
    except SlackError as trouble:
        found.mistakes.append(("approval", str(trouble)))
    finally:
        await client.close()
    return found


class _WorkflowCheck:
    """What Slack says to one workflow."""

    def __init__(
        self, client: Client, me: Me, place: str, workflow: SlackWorkflow, found: ChannelReport
    ) -> None:
        now = asyncio.get_running_loop().time
        self._client, self._me, self._place = client, me, place
        self._workflow, self._found = workflow, found
        self._users = Users(client, now)
        self._publisher = Publisher(client, HistoryReader(client, now), now, now)

    async def ask(self) -> None:
        missing = lacking(self._me, self._workflow)
        for scope in missing:
            self._problem("", SlackRefused("reactions and people", "missing_scope", scope))
        await self._try(".channel", self._channel())
        if missing:
            return  # each name would say it once more
        able: set[str] = set()
        for index, name in enumerate(self._workflow.approvers or ()):
            await self._try(f".approvers[{index}]", self._approver(name, able))
        if self._workflow.approvers and len(able) < self._workflow.required:
            line = f"{self._workflow.required} must approve, and {len(able)} of those listed can"
            self._problem(".required", line)
        for name in self._workflow.mention:
            if name not in ("here", "channel"):
                await self._try(".mention", self._approver(name, set()))

    async def _channel(self) -> str | None:
        configured = self._workflow.channel
        by_name = not CHANNEL_ID.fullmatch(configured)
        if not by_name and not (self._me.may("channels:read") or self._me.may("groups:read")):
            return "the app may not look at it: without `channels:read` this cannot be checked"
        id = await self._publisher.channel(configured)
        answer = await self._client.read("conversations.info", channel=id)
        channel = answer.get("channel") or {}
        if channel.get("is_archived"):
            raise SlackRefused("conversations.info", "is_archived")
        if not channel.get("is_member", True):
            raise SlackRefused("conversations.info", "not_in_channel")
        self._found.notes.append(f"{self._place}.channel: `#{channel.get('name', '?')}` ({id})")
        return None

    async def _approver(self, name: str, able: set[str]) -> str | None:
        """Adds the ids of whom `name` means, as far as they may decide, to `able`."""
        if re.fullmatch(GROUP, name):
            ids = await self._users.members(name)
            if not ids:
                return f"Slack knows no user group `{name}`, or nobody is in it"
        elif "@" in name:
            id = await self._users.by_email(name)
            if id is None:
                return f"Slack knows nobody with the address `{name}`"
            ids = frozenset({id})
        else:
            ids = frozenset({name})
        words = ""
        for id in ids:
            person = await self._users.find(id)
            if person is None:
                words = f"Slack knows no user `{id}`"
            elif person.bot or person.gone:
                words = f"`{id}` is {'a bot' if person.bot else 'deactivated'}, and does not count"
            else:
                able.add(id)
        return words if words and len(ids) == 1 else None

    async def _try(self, key: str, asked: Coroutine[None, None, str | None]) -> None:
        try:
            line = await asked
        except SlackRefused as refused:
            self._problem(key, refused)
        else:
            if line is not None:
                self._problem(key, line)

    def _problem(self, key: str, line: object) -> None:
        self._found.mistakes.append((f"{self._place}{key}", str(line)))
