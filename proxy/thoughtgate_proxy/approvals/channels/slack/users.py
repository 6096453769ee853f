"""Who reacted, and whether they may decide under a workflow. What is uncertain does not count."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from thoughtgate_proxy.approvals.channels.slack.client import Client
from thoughtgate_proxy.approvals.channels.slack.errors import SlackRefused
from thoughtgate_proxy.approvals.channels.slack.workflow import GROUP
from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.config.values import Workflow

# Somebody who was taken out of a group, or out of the workspace, may decide for so long still.
KEPT_SECONDS: Final = 300.0
_SLACKBOT = "USLACKBOT"  # not a bot by Slack's own telling
_NO_SUCH = frozenset({"user_not_found", "users_not_found", "user_not_visible", "no_such_subteam"})


@dataclass(frozen=True, slots=True)
class User:
    """A Slack user. `outside` says that they belong to another organisation than the token."""

    id: str
    name: str
    email: str = ""
    bot: bool = False
    gone: bool = False
    guest: bool = False
    outside: bool = False


class Users:
    """What Slack says of people and groups, kept for a while."""

    def __init__(self, client: Client, now: Callable[[], float]) -> None:
        """`now` gives seconds that never go back."""
        self._client, self._now = client, now
        self._kept = BoundedCache[tuple[str, str], tuple[float, Any]](most=1000, longest=1000)

    async def approver(self, id: str, workflow: Workflow) -> User | None:
        """The person, if they may decide; None if not. Raises `SlackError`."""
        person = await self.find(id)
        if person is None or person.bot or person.gone:
            return None
        if workflow.approvers is None:
            return None if person.guest or person.outside else person
        if id in workflow.approvers:
            return person
        for listed in workflow.approvers:
            if "@" in listed:
                if await self.by_email(listed) == id:
                    return person
            elif re.fullmatch(GROUP, listed) and id in await self.members(listed):
                return person
        return None

    async def find(self, id: str) -> User | None:
        """A user by id; None if there is none. Raises `SlackError`."""
        user = await self._ask("users.info", {"user": id}, "user")
        return None if user is None else self._person(id, user)

    async def by_email(self, email: str) -> str | None:
        """The id of the user with that address; None if there is none. Raises `SlackError`."""
        user = await self._ask("users.lookupByEmail", {"email": email}, "user")
        return None if user is None else str(user.get("id", ""))

    async def members(self, group: str) -> frozenset[str]:
        """The ids of a user group's members; a group that is disabled has none.

        Raises `SlackError`.
        """
        users = await self._ask("usergroups.users.list", {"usergroup": group}, "users")
        return frozenset(users or ())

    def _person(self, id: str, user: Mapping[str, Any]) -> User:
        profile = user.get("profile") or {}
        name = profile.get("real_name") or user.get("real_name") or user.get("name") or id
        me = self._client.me
        organisation = (user.get("enterprise_user") or {}).get("enterprise_id")
        home = user.get("team_id") == me.team or (me.enterprise and organisation == me.enterprise)
        return User(
            id=id,
            # People name themselves, and this stands in logs and in what the agent reads.
            name="".join(c if c.isprintable() else " " for c in str(name))[:80],
            bot=bool(user.get("is_bot")) or id in (me.user, _SLACKBOT),
            gone=bool(user.get("deleted")),
            guest=bool(user.get("is_restricted") or user.get("is_ultra_restricted")),
            outside=bool(user.get("is_stranger")) or not home,
        )

    async def _ask(self, method: str, arguments: Mapping[str, Any], key: str) -> Any:
        asked = (method, next(iter(arguments.values())))
        kept = self._kept.get(asked)
        if kept is not None and self._now() - kept[0] < KEPT_SECONDS:
            return kept[1]
        try:
            found = (await self._client.read(method, **arguments)).get(key)
        except SlackRefused as refused:
            if refused.error not in _NO_SUCH:
                raise
            found = None
        self._kept.put(asked, (self._now(), found), len(asked[1]))
        return found
