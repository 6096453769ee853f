"""Reads messages back from a channel with as few calls as Slack's limits want."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from thoughtgate_proxy.approvals.channels.slack.client import Client
from thoughtgate_proxy.approvals.channels.slack.errors import SlackRefused
from thoughtgate_proxy.approvals.channels.slack.message_ref import is_ours, reactions, request_of

# Messages of ours can have 13,000 characters, and all of a page is in memory at once.
_PAGE: Final = 100
_MOST_PAGES_OF_A_LOOK: Final = 5
# Clocks differ: Slack's ids are its own time.
_SKEW_SECONDS = 300
# How long a scope that was missing is not tried again.
_LACKING_SECONDS = 300.0
_MOST_REASON = 1_000
_GONE = frozenset({"message_not_found"})

Posted = Mapping[str, Any]


class HistoryReader:
    """What stands in a channel."""

    def __init__(self, client: Client, now: Callable[[], float]) -> None:
        """`now` gives seconds that never go back."""
        self._client, self._now = client, now
        self._lacking: dict[str, float] = {}

    async def messages(self, channel: str, stamps: Sequence[str]) -> dict[str, Posted | None]:
        """The messages with those ids; None for one that is gone. Raises `SlackError`.

        One call covers all of them where the app may read the channel's history, and more only in
        a channel that is full of other talk; a call for each message where it may not.
        """
        found: dict[str, Posted] = {}
        if self._may_read(channel):
            try:
                found = await self._between(channel, sorted(stamps, key=float))
            except SlackRefused as refused:
                if refused.error != "missing_scope":
                    raise
                self._lacking[channel] = self._now()
        read: dict[str, Posted | None] = {}
        for stamp in stamps:
            message = found.get(stamp)
            cut_short = message is not None and not all(r.complete for r in reactions(message))
            # Not in the history may mean: not yet.
            if message is None or cut_short:
                read[stamp] = await self._alone(channel, stamp)
            else:
                read[stamp] = message
        return read

    async def find_request(self, channel: str, id: str, since: float) -> Posted | None:
        """The newest message of ours that asks for the request `id`; None if there is none.

        `since` is Unix time. Raises `SlackError`, also if the history may not be read.
        """
        cursor = None
        for _ in range(_MOST_PAGES_OF_A_LOOK):
            page = await self._client.read(
                "conversations.history", channel=channel, oldest=f"{since - _SKEW_SECONDS:.6f}",
                limit=_PAGE, include_all_metadata="true", cursor=cursor,
            )  # fmt: skip
            for message in page.get("messages") or ():
                if request_of(message) == id and is_ours(message, self._client.me):
                    return dict(message)
            cursor = _next(page)
            if cursor is None:
                return None
        return None

    async def reason(self, channel: str, stamp: str, user: str) -> str:
        """What `user` last wrote in the thread of a message, "" if nothing that can be read.

        Raises `SlackError`, but not for a scope that is missing: a reason is a courtesy.
        """
        try:
            thread = await self._client.read(
                "conversations.replies", channel=channel, ts=stamp, limit=_PAGE
            )
        except SlackRefused:
            return ""
        replies = [
            str(message.get("text", ""))
            for message in thread.get("messages") or ()
            if message.get("user") == user and message.get("ts") != stamp
        ]
        return _plain(replies[-1]) if replies else ""

    def _may_read(self, channel: str) -> bool:
        since = self._lacking.get(channel)
        return since is None or self._now() - since > _LACKING_SECONDS

    async def _between(self, channel: str, stamps: Sequence[str]) -> dict[str, Posted]:
        wanted, cursor = set(stamps), None
        found: dict[str, Posted] = {}
        # Once there were as many pages as messages, a call for each that is left is no dearer.
        for _ in stamps:
            page = await self._client.read(
                "conversations.history", channel=channel, oldest=stamps[0], latest=stamps[-1],
                inclusive="true", limit=_PAGE if len(stamps) > 1 else 1,
                include_all_metadata="true", cursor=cursor,
            )  # fmt: skip
            for message in page.get("messages") or ():
                if message.get("ts") in wanted:
                    found[message["ts"]] = message
            cursor = _next(page)
            if cursor is None or len(found) == len(wanted):
                break
        return found

    async def _alone(self, channel: str, stamp: str) -> Posted | None:
        try:
            answer = await self._client.read(
                "reactions.get", channel=channel, timestamp=stamp, full="true"
            )
        except SlackRefused as refused:
            if refused.error in _GONE:
                return None
            raise
        return dict(answer.get("message") or {})


def _next(page: Mapping[str, Any]) -> str | None:
    return (page.get("response_metadata") or {}).get("next_cursor") or None


def _plain(text: str) -> str:
    """What somebody wrote, as one short line without Slack's entities."""
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _MOST_REASON else f"{text[:_MOST_REASON]} [cut]"
