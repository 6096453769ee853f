"""A Slack workspace: its people, groups, channels and what was said there."""

import copy
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TEAM = "T0HOME"
TOKEN = "xoxb-your-token"
CHANNEL = "C0APPROVALS"
SCOPES = frozenset({
    "chat:write", "reactions:read", "channels:read", "channels:history", "groups:read",
    "groups:history", "users:read", "users:read.email", "usergroups:read", "files:write",
})  # fmt: skip

Post = dict[str, Any]


class ApiError(Exception):
    """`ok: false`, with Slack's word for it and perhaps more of the answer."""

    def __init__(self, error: str, **more: str) -> None:
        super().__init__(error)
        self.error, self.more = error, more


@dataclass
class User:
    """Somebody of the workspace, or of another one."""

    id: str
    name: str
    email: str = ""
    bot: bool = False
    guest: bool = False
    deleted: bool = False
    team: str = TEAM

    def shown(self) -> dict[str, Any]:
        """As `users.info` gives it."""
        return {
            "id": self.id,
            "team_id": self.team,
            "name": self.name.lower(),
            "deleted": self.deleted,
            "real_name": self.name,
            "profile": {"real_name": self.name, "email": self.email},
            "is_bot": self.bot,
            "is_restricted": self.guest,
            "is_ultra_restricted": False,
            "is_stranger": False,
        }


@dataclass
class Channel:
    """A channel; `members` holds at least our bot, unless a test takes it out."""

    id: str
    name: str
    private: bool = False
    archived: bool = False
    members: set[str] = field(default_factory=set)
    posts: list[Post] = field(default_factory=list)

    def post(self, ts: str) -> Post:
        """The message or reply with that id. Raises `ApiError`."""
        for post in self.posts:
            if post["ts"] == ts:
                return post
        raise ApiError("message_not_found")


@dataclass
class App:
    """Who a token is."""

    user: str = "U0BOT"
    bot: str = "B0BOT"
    app: str = "A0APP"
    scopes: frozenset[str] = SCOPES


class Workspace:
    """All of it, with what users do there."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now, self._last = now, 0
        self.apps = {TOKEN: App()}
        people = [
            User("U0ALICE", "Alice", "alice@example.com"),
            User("U0BOB", "Bob", "bob@example.com"),
            User("U0CAROL", "Carol", "carol@example.com"),
            User("U0GUEST", "Gus", "gus@example.com", guest=True),
            User("U0OTHER", "Otto", "otto@elsewhere.example", team="T0OTHER"),
            User("U0GONE", "Gone", "gone@example.com", deleted=True),
            User("U0BOT", "thoughtgate", bot=True),
            User("U0ROBOT", "Robot", bot=True),
            User("USLACKBOT", "slackbot"),
        ]
        self.users = {user.id: user for user in people}
        self.groups: dict[str, list[str]] = {"S0ONCALL": ["U0BOB", "U0CAROL"]}
        channels = [
            Channel(CHANNEL, "approvals", members={"U0BOT"}),
            Channel("C0PRIVATE", "secret", private=True, members={"U0BOT"}),
            Channel("C0ELSE", "elsewhere"),
        ]
        self.channels = {channel.id: channel for channel in channels}
        self.files: dict[str, Any] = {}
        self.most_users = 50
        """So many users at most stand in a list of a message's reactions."""
        self.marks_edits = False
        """Whether an update that brings blocks is marked as an edit; that is not documented."""

    def stamp(self) -> str:
        """A new message's id."""
        self._last = max(self._last + 1, int(self._now() * 1_000_000))
        return f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}"

    def channel(self, id: str) -> Channel:
        """A channel by its id. Raises `ApiError`."""
        found = self.channels.get(id)
        if found is None:
            raise ApiError("channel_not_found")
        return found

    def say(self, user: str, text: str, channel: str = CHANNEL, thread: str | None = None) -> Post:
        """A user writes something."""
        post: Post = {"type": "message", "user": user, "text": text}
        return self.put(self.channel(channel), post, thread)

    def put(self, channel: Channel, post: Post, thread: str | None = None) -> Post:
        """Add a message."""
        post["ts"], post["team"] = self.stamp(), TEAM
        for block in post.get("blocks") or ():
            block.setdefault("block_id", secrets.token_hex(3))
        if thread is not None:
            parent = channel.post(thread)
            post["thread_ts"], parent["thread_ts"] = thread, thread
            parent["reply_count"] = parent.get("reply_count", 0) + 1
            parent["latest_reply"] = post["ts"]
        channel.posts.append(post)
        return post

    def react(self, user: str, name: str, ts: str | None = None, channel: str = CHANNEL) -> None:
        """A user reacts to a message; to the last question without `ts`."""
        post = self.channel(channel).post(ts or self.asked(channel)[-1]["ts"])
        reactions = post.setdefault("reactions", [])
        for reaction in reactions:
            if reaction["name"] == name:
                if user not in reaction["users"]:
                    reaction["users"].append(user)
                return
        reactions.append({"name": name, "users": [user]})

    def unreact(self, user: str, name: str, ts: str, channel: str = CHANNEL) -> None:
        """A user takes a reaction back."""
        post = self.channel(channel).post(ts)
        for reaction in post.get("reactions", []):
            if reaction["name"] == name:
                reaction["users"].remove(user)
        post["reactions"] = [r for r in post.get("reactions", []) if r["users"]]

    def delete(self, ts: str, channel: str = CHANNEL) -> None:
        """An administrator deletes a message."""
        self.channel(channel).posts.remove(self.channel(channel).post(ts))

    def asked(self, channel: str = CHANNEL) -> list[Post]:
        """The messages with metadata, oldest first: the questions."""
        return [post for post in self.channel(channel).posts if post.get("metadata")]

    def shown(self, post: Post, *, full: bool = False, metadata: bool = False) -> Post:
        """A message as the API gives it."""
        shown = copy.deepcopy(post)
        for reaction in shown.get("reactions", []):
            reaction["count"] = len(reaction["users"])
            if not full:
                del reaction["users"][self.most_users :]
        if not metadata:
            shown.pop("metadata", None)
        return shown
