"""Slack as this package speaks to it: connected when first needed, and through the gates."""

import asyncio
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thoughtgate_proxy.approvals.channels.slack.account import Account
from thoughtgate_proxy.approvals.channels.slack.errors import NotSetUp, SlackError, SlackRefused
from thoughtgate_proxy.approvals.channels.slack.rate_limits import RateLimits
from thoughtgate_proxy.runtime.forward_proxy import ProxyWrong
from thoughtgate_proxy.upstream.tls import TrustMissing

if TYPE_CHECKING:
    from thoughtgate_proxy.approvals.channels.slack.web import Web


@dataclass(frozen=True, slots=True)
class Me:
    """Whose token it is. `scopes` is None where Slack does not say (behind some proxies)."""

    user: str
    bot: str
    team: str
    enterprise: str | None
    scopes: frozenset[str] | None
    team_name: str = ""
    user_name: str = ""

    def may(self, scope: str) -> bool:
        """Whether the token has that scope, as far as is known."""
        return self.scopes is None or scope in self.scopes


class Client:
    """Calls of the account's token. Nothing is imported, and nothing asked, until `connect`."""

    def __init__(
        self,
        account: Account,
        random: Callable[[], float],
        limited: Callable[[SlackError], None],
    ) -> None:
        """`random` gives numbers from 0 to 1; `limited` is told of pauses that Slack asks for."""
        self._account = account
        self.rate_limits = RateLimits(random, limited)
        self._web: Web | None = None
        self._replaced: Web | None = None
        """That of the token before: calls of it may be under way until yet another one comes."""
        self._token = ""
        self._me: tuple[Web, Me] | None = None
        self._connecting = asyncio.Lock()

    @property
    def me(self) -> Me:
        """Whose token it is; only once connected."""
        if self._me is None:
            raise NotSetUp("not connected to Slack yet")
        return self._me[1]

    async def connect(self, until: float | None = None, *, anew: bool = False) -> Me:
        """Learn whose token it is, and what it may do; `anew` even if that is known.

        Raises `SlackError`.
        """
        async with self._connecting:
            web = await self._opened()
            if self._me is not None and self._me[0] is web and not anew:
                return self._me[1]
            answer, scopes = await self.rate_limits.through("auth.test", web.who_am_i, until)
            if not answer.get("bot_id"):
                raise SlackRefused("auth.test", "not_allowed_token_type")
            me = Me(
                user=str(answer.get("user_id", "")),
                bot=str(answer["bot_id"]),
                team=str(answer.get("team_id", "")),
                enterprise=answer.get("enterprise_id"),
                scopes=None if scopes is None else frozenset(scopes.replace(" ", "").split(",")),
                team_name=str(answer.get("team", "")),
                user_name=str(answer.get("user", "")),
            )
            self._me = web, me
            return me

    async def read(
        self, method: str, *, until: float | None = None, **arguments: Any
    ) -> Mapping[str, Any]:
        """A call that only reads; None among the arguments is left out. Raises `SlackError`."""
        web = await self._opened()
        given = {name: value for name, value in arguments.items() if value is not None}
        return await self.rate_limits.through(method, lambda: web.read(method, given), until)

    async def call(
        self, method: str, *, until: float | None = None, **arguments: Any
    ) -> Mapping[str, Any]:
        """A call that writes; repeated only if Slack did not take it. Raises `SlackError`."""
        web = await self._opened()
        return await self.rate_limits.through(method, lambda: web.call(method, arguments), until)

    async def upload(
        self, channel: str, name: str, text: str, comment: str, *, until: float | None = None
    ) -> None:
        """Show a file in a channel. Raises `SlackError`."""
        web = await self._opened()
        await self.rate_limits.through(
            "files.completeUploadExternal", lambda: web.upload(channel, name, text, comment), until
        )

    async def close(self) -> None:
        """Close the connections, if any."""
        webs = self._web, self._replaced
        self._web = self._replaced = self._me = None
        for web in webs:
            if web is not None:
                await web.close()

    async def _opened(self) -> "Web":
        """The connections of the token as it is now. Raises `NotSetUp`."""
        token = self._account.token()
        if self._web is not None and token == self._token:
            return self._web
        # Takes a tenth of a second of CPU, which a small limit stretches to a whole one: in a
        # thread the event loop gets its turns meanwhile.
        name = "thoughtgate_proxy.approvals.channels.slack.web"
        module = await asyncio.to_thread(importlib.import_module, name)
        if self._web is None or token != self._token:
            try:
                web: Web = module.Web(token, self._account.api_url, self._account.environ)
            except (TrustMissing, ProxyWrong) as error:
                raise NotSetUp(f"Slack cannot be reached: {error}") from error
            unused, self._replaced = self._replaced, self._web
            self._web, self._token = web, token
            if unused is not None:
                await unused.close()
            return web
        return self._web
