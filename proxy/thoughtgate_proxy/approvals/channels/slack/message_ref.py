"""A message as Slack gives it back: whether it is still ours, and what the reactions on it say."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from thoughtgate_proxy.approvals.channels.slack.blocks import EVENT_TYPE, visible
from thoughtgate_proxy.approvals.channels.slack.client import Me
from thoughtgate_proxy.core.approval import VoteValue

_VERDICTS: Final = {
    "+1": VoteValue.APPROVE,
    "thumbsup": VoteValue.APPROVE,
    "white_check_mark": VoteValue.APPROVE,
    "-1": VoteValue.REJECT,
    "thumbsdown": VoteValue.REJECT,
    "x": VoteValue.REJECT,
}
_PLACE = re.compile(r"([A-Z0-9]+)/([0-9]+\.[0-9]+)/([0-9a-f]+)/([a-z]*)")


@dataclass(frozen=True, slots=True)
class MessageRef:
    """Where a request stands in Slack: the note in `Approval.message_ref`.

    `ts` is Slack's id of the message, `digest` that of all that could be seen of it, and `says` the
    state that it was last updated to, "" while it asks.
    """

    channel: str
    ts: str
    digest: str
    says: str = ""

    def __str__(self) -> str:
        return f"{self.channel}/{self.ts}/{self.digest}/{self.says}"

    @classmethod
    def read(cls, note: str | None) -> "MessageRef | None":
        """The place that a note means; None if it is none of ours."""
        match = _PLACE.fullmatch(note or "")
        return None if match is None else cls(*match.groups())

    def saying(self, says: str, message: Mapping[str, Any]) -> "MessageRef":
        """This place after its message was updated."""
        return replace(self, says=says, digest=digest(message))


@dataclass(frozen=True, slots=True)
class Reactions:
    """Who reacted for one verdict; not `complete` if Slack names fewer than it counts."""

    verdict: VoteValue
    users: tuple[str, ...]
    complete: bool


def digest(message: Mapping[str, Any]) -> str:
    """Stands for all that a human sees of a message."""
    return hashlib.sha256(visible(message).encode("utf-8", "replace")).hexdigest()[:24]


def is_ours(message: Mapping[str, Any], me: Me) -> bool:
    """Whether our app posted it."""
    return message.get("bot_id") == me.bot or message.get("user") == me.user


def request_of(message: Mapping[str, Any]) -> str | None:
    """The id of the request that the message's metadata names."""
    metadata = message.get("metadata") or {}
    if metadata.get("event_type") != EVENT_TYPE:
        return None
    return str((metadata.get("event_payload") or {}).get("id"))


def changed(message: Mapping[str, Any], place: MessageRef, me: Me) -> bool:
    """Whether somebody made something else of the message that we posted.

    Slack's mark `edited` is not enough: an update that brings blocks alone does not always set it.
    """
    edited = bool(message.get("edited")) and not place.says
    return not is_ours(message, me) or edited or digest(message) != place.digest


def reactions(message: Mapping[str, Any]) -> list[Reactions]:
    """The reactions that decide, rejections first; skin tones are one with the plain emoji."""
    found = []
    for reaction in message.get("reactions") or ():
        verdict = _VERDICTS.get(str(reaction.get("name")).partition("::")[0])
        if verdict is not None:
            users = tuple(dict.fromkeys(map(str, reaction.get("users") or ())))
            found.append(Reactions(verdict, users, len(users) >= reaction.get("count", 0)))
    return sorted(found, key=lambda each: each.verdict is VoteValue.APPROVE)
