"""Slack as this package speaks to it: connected when first needed, and through the gates."""

import asyncio
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from thoughtgate_proxy.approvals.channels.slack.errors import (
    TOKEN_VARIABLE,
    SlackError,
    SlackRefused,
)
from thoughtgate_proxy.approvals.channels.slack.rate_limits import RateLimits
from thoughtgate_proxy.runtime.forward_proxy import ProxyWrong
from thoughtgate_proxy.upstream.tls import TrustMissing

if TYPE_CHECKING:
    from thoughtgate_proxy.approvals.channels.slack.web import Web


class NotSetUp(SlackError):
    """Slack cannot be asked anything until an operator does something."""

    kind = "slack_auth"


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


@dataclass(frozen=True, slots=True)
class Account:
    """Where Slack is, and the bot's token, "" if there is none.

    `environ` says through which proxy to go, and whom to trust: `HTTPS_PROXY`, `NO_PROXY`,
    `SSL_CERT_FILE`.
    """

    token: str = field(repr=False)
    api_url: str
    environ: Mapping[str, str] = field(repr=False)


class Client:
    """Calls of one token. Nothing is imported, and nothing asked, until `connect`."""

    def __init__(
        self,
        account: Account,
        random: Callable[[], float],
        limited: Callable[[SlackError], None],
    ) -> None:
        """`random` gives numbers from 0 to 1; `limited` is told of pauses that Slack asks for."""
        self._account = account
        self.gates = RateLimits(random, limited)
        self._web: Web | None = None
        self._me: Me | None = None
        self._connecting = asyncio.Lock()

    @property
    def me(self) -> Me:
        """Whose token it is; only once connected."""
        if self._me is None:
            raise NotSetUp("not connected to Slack yet")
        return self._me

    async def connect(self, until: float | None = None, *, anew: bool = False) -> Me:
        """Learn whose token it is, and what it may do; `anew` even if that is known.

        Raises `SlackError`.
        """
        async with self._connecting:
            if self._me is not None and not anew:
                return self._me
            web = await self._opened()
            answer, scopes = await self.gates.through("auth.test", web.who_am_i, until)
            if not answer.get("bot_id"):
                raise SlackRefused("auth.test", "not_allowed_token_type")
            self._me = Me(
                user=str(answer.get("user_id", "")),
                bot=str(answer["bot_id"]),
                team=str(answer.get("team_id", "")),
                enterprise=answer.get("enterprise_id"),
                scopes=None if scopes is None else frozenset(scopes.replace(" ", "").split(",")),
                team_name=str(answer.get("team", "")),
                user_name=str(answer.get("user", "")),
            )
            return self._me

    async def read(
        self, method: str, *, until: float | None = None, **arguments: Any
    ) -> Mapping[str, Any]:
        """A call that only reads; None among the arguments is left out. Raises `SlackError`."""
        web = await self._opened()
        given = {name: value for name, value in arguments.items() if value is not None}
        return await self.gates.through(method, lambda: web.read(method, given), until)

    async def call(
        self, method: str, *, until: float | None = None, **arguments: Any
    ) -> Mapping[str, Any]:
        """A call that writes; repeated only if Slack did not take it. Raises `SlackError`."""
        web = await self._opened()
        return await self.gates.through(method, lambda: web.call(method, arguments), until)

    async def upload(
        self, channel: str, name: str, text: str, comment: str, *, until: float | None = None
    ) -> None:
        """Show a file in a channel. Raises `SlackError`."""
        web = await self._opened()
        await self.gates.through(
            "files.completeUploadExternal", lambda: web.upload(channel, name, text, comment), until
        )

    async def close(self) -> None:
        """Close the connections, if any."""
        web, self._web, self._me = self._web, None, None
        if web is not None:
            await web.close()

    async def _opened(self) -> "Web":
        if self._web is None:
            token = self._account.token
            if not token:
                raise NotSetUp(
                    f"there is no Slack token: set {TOKEN_VARIABLE}, in a cluster the key "
                    "`slack-token` of the Secret `thoughtgate-secrets`"
                )
            if not re.fullmatch("[!-~]+", token):
                raise NotSetUp(f"{TOKEN_VARIABLE} holds characters that no token has")
            # Takes a tenth of a second of CPU, which a small limit stretches to a whole one: in a
            # thread the event loop gets its turns meanwhile.
            name = "thoughtgate_proxy.approvals.channels.slack.web"
            module = await asyncio.to_thread(importlib.import_module, name)
            if self._web is None:
                try:
                    self._web = module.Web(token, self._account.api_url, self._account.environ)
                except (TrustMissing, ProxyWrong) as error:
                    raise NotSetUp(f"Slack cannot be reached: {error}") from error
        web: Web = self._web
        return web
