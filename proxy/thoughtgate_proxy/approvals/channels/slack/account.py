"""Where Slack is, and whose token speaks to it."""

import re
from collections.abc import Mapping
from pathlib import Path

from thoughtgate_proxy.approvals.channels.channel import ChannelSettings
from thoughtgate_proxy.approvals.channels.slack.errors import NotSetUp
from thoughtgate_proxy.approvals.channels.watched_file import WatchedFile
from thoughtgate_proxy.core.config.scalars import UnreadableError, url

TOKEN_FILE = "slack-token"  # noqa: S105  its name
TOKEN_VARIABLE = "THOUGHTGATE_SLACK_BOT_TOKEN"  # noqa: S105  its name
URL_VARIABLE = "THOUGHTGATE_SLACK_API_URL"
_API_URL = "https://slack.com/api/"
_MOST_BYTES = 4096


class Account:
    """The bot's token as it is now, and the address of Slack's Web API.

    The token is the mounted Secret's file `slack-token`, read again when it changes; only where
    there is no such file it is the variable's, as a sidecar written by hand may have it. `environ`
    also says through which proxy to go, and whom to trust: `HTTPS_PROXY`, `NO_PROXY`,
    `SSL_CERT_FILE`.
    """

    def __init__(self, settings: ChannelSettings) -> None:
        self.environ: Mapping[str, str] = settings.environ
        self._file = WatchedFile(settings.secrets / TOKEN_FILE, _read)

    @property
    def api_url(self) -> str:
        """Slack's own, but in tests and behind some gateways."""
        return self.environ.get(URL_VARIABLE, "").strip() or _API_URL

    def wrong_url(self) -> str | None:
        """What is wrong with the address, in one line."""
        try:
            url(self.api_url)
        except UnreadableError as error:
            return f"`{ascii(self.api_url[:100])[1:-1]}`, allowed is {error}"
        return None

    def token(self) -> str:
        """The token. Raises `NotSetUp`."""
        found, place = self._file.value(), f"`{self._file.path}`"
        if isinstance(found, OSError):
            raise NotSetUp(f"the Slack token in {place}: {(found.strerror or str(found)).lower()}")
        if found is None:
            found, place = self.environ.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
        if not found:
            raise NotSetUp(
                f"there is no Slack token: set the key `{TOKEN_FILE}` of the Secret "
                f"`thoughtgate-secrets`, outside of a cluster {TOKEN_VARIABLE}"
            )
        if not re.fullmatch("[!-~]+", found):
            raise NotSetUp(f"the Slack token in {place} has characters that no token has")
        return found


def _read(path: Path) -> str | OSError | None:
    """The file's text, None where there is none; an empty one is a token that was taken away."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
