"""What can go wrong with Slack, told apart by what it means for us."""

from thoughtgate_proxy.approvals.channels.channel import AskFailed

_AUTH = {
    "not_authed": "it is empty",
    "invalid_auth": "Slack does not know it",
    "token_revoked": "it was revoked",
    "token_expired": "it has expired",
    "account_inactive": "its app or workspace was removed",
    "not_allowed_token_type": "it is not a bot's token (`xoxb-...`)",
    "no_permission": "it may not do this",
    "ekm_access_denied": "the workspace's administrators have suspended access",
    "access_denied": "it may not do this",
    "org_login_required": "the workspace is being moved to an organisation",
}
_CHANNEL = {
    "channel_not_found": "Slack knows no such channel, or none that the app may see: {invite}",
    "not_in_channel": "the app is not in it: {invite}",
    "is_archived": "it is archived",
    "restricted_action": "a workspace setting keeps the app from posting there",
    "restricted_action_read_only_channel": "a workspace setting keeps the app from posting there",
    "restricted_action_thread_only_channel": "a workspace setting allows replies only",
}
_INVITE = "invite the app there with `/invite`"


class SlackError(Exception):
    """Something is wrong with Slack; the message is one line, with no token in it."""

    kind = "slack"


class NotSetUp(SlackError):
    """Slack cannot be asked anything until an operator does something."""

    kind = "slack_auth"


class Unreachable(SlackError):
    """Slack gave no answer that can be understood, or said itself that it is in trouble.

    `sent` says whether it may have acted all the same.
    """

    kind = "slack_down"

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class RateLimited(SlackError):
    """Slack wants no call of that method for `seconds`; it has done nothing."""

    kind = "slack_rate_limited"

    def __init__(self, method: str, seconds: float) -> None:
        super().__init__(f"Slack's rate limit of `{method}` is used up for {seconds:.0f} s")
        self.seconds = seconds


class SlackRefused(SlackError):
    """Slack's `ok: false`: `error` is its word for why, `needed` the scope that is missing."""

    def __init__(self, method: str, error: str, needed: str = "") -> None:
        self.method, self.error, self.needed = method, error, needed
        super().__init__(_words(method, error, needed))

    @property
    def kind(self) -> str:  # type: ignore[override]  # of this one it depends on the error
        """A word for the metric."""
        if self.error in _AUTH:
            return "slack_auth"
        if self.error == "missing_scope":
            return "slack_scope"
        return "slack_channel" if self.error in _CHANNEL else "slack_refused"


def _words(method: str, error: str, needed: str) -> str:
    if error in _AUTH:
        return f"Slack refuses the bot's token: {_AUTH[error]} (`{error}`)"
    if error == "missing_scope":
        return (
            f"the Slack app lacks the scope `{needed or '?'}` (for `{method}`): add it and install "
            "the app again"
        )
    if error in _CHANNEL:
        return f"Slack channel: {_CHANNEL[error].format(invite=_INVITE)} (`{error}`)"
    return f"Slack refused `{method}`: `{error}`"


def cannot_ask(trouble: SlackError, channel: str, *, in_doubt: bool) -> AskFailed:
    """What the agent and the log are told.

    `channel` is as configured; `in_doubt` says that the question may stand in it all the same.
    """
    reason = str(trouble)
    if trouble.kind == "slack_channel":
        reason = reason.replace("Slack channel", f"Slack channel `{channel}`", 1)
    if in_doubt:
        reason += "; a message may stand there, and counts for nothing"
    return AskFailed(reason, trouble.kind)
