"""The methods of Slack's Web API that an app for approvals calls."""

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from tests.harness.slack import blocks
from tests.harness.slack.workspace import TEAM, ApiError, App, Channel, Post, Workspace

Arguments = Mapping[str, Any]
Answer = dict[str, Any]
_MOST_PAGE = 999


class Methods:
    """What each method does for one app. Arguments are texts, or JSON values."""

    def __init__(self, workspace: Workspace, app: App, base_url: str) -> None:
        self._workspace, self._app, self._base_url = workspace, app, base_url

    def call(self, method: str, given: Arguments) -> Answer:
        """The answer without `ok`. Raises `ApiError`."""
        found: dict[str, Callable[[Arguments], Answer]] = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post_message,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.info": self._info,
            "conversations.replies": self._replies,
            "files.completeUploadExternal": self._complete_upload,
            "files.getUploadURLExternal": self._upload_url,
            "reactions.get": self._reactions,
            "usergroups.users.list": self._group,
            "users.conversations": self._channels,
            "users.info": self._user,
            "users.lookupByEmail": self._by_email,
        }
        if method not in found:
            raise ApiError("unknown_method")
        return found[method](given)

    def _need(self, *scopes: str) -> None:
        """One of these. Raises `ApiError`."""
        if self._app.scopes.isdisjoint(scopes):
            provided = ",".join(sorted(self._app.scopes))
            raise ApiError("missing_scope", needed=scopes[0], provided=provided)

    def _readable(self, id: str, suffix: str) -> Channel:
        """A channel that the app is in and may read. Raises `ApiError`."""
        channel = self._workspace.channel(id)
        self._need(f"{'groups' if channel.private else 'channels'}:{suffix}")
        return self._inside(channel)

    def _inside(self, channel: Channel) -> Channel:
        if self._app.user not in channel.members:
            raise ApiError("channel_not_found" if channel.private else "not_in_channel")
        return channel

    def _auth_test(self, _: Arguments) -> Answer:
        names = {"url": "https://home.slack.example/", "team": "Home", "user": "thoughtgate"}
        return {
            **names, "team_id": TEAM, "user_id": self._app.user, "bot_id": self._app.bot,
            "is_enterprise_install": False,
        }  # fmt: skip

    def _post_message(self, given: Arguments) -> Answer:
        self._need("chat:write")
        name = str(given.get("channel", ""))
        # A post may name its channel, which no other method allows.
        ids = [c.id for c in self._workspace.channels.values() if c.name == name.removeprefix("#")]
        channel = self._inside(self._workspace.channel(ids[0] if ids else name))
        if channel.archived:
            raise ApiError("is_archived")
        post = self._content(given)
        metadata = _json(given.get("metadata"))
        if metadata is not None:
            if not isinstance(metadata, dict) or not isinstance(metadata.get("event_type"), str):
                raise ApiError("invalid_metadata_format")
            if not isinstance(metadata.get("event_payload"), dict):
                raise ApiError("invalid_metadata_format")
            post["metadata"] = metadata
        thread = given.get("thread_ts")
        if thread is not None and all(p["ts"] != thread for p in channel.posts):
            raise ApiError("thread_not_found")
        self._workspace.put(channel, post, thread)
        shown = self._workspace.shown(post, metadata=True)
        return {"channel": channel.id, "ts": post["ts"], "message": shown}

    def _content(self, given: Arguments) -> Post:
        content, text = _json(given.get("blocks")), str(given.get("text") or "")
        error = blocks.refused(text, content)
        if error is not None:
            raise ApiError(error)
        app = self._app
        post: Post = {"type": "message", "user": app.user, "bot_id": app.bot, "app_id": app.app}
        post["text"] = text
        if content is not None:
            post["blocks"] = content
        return post

    def _update(self, given: Arguments) -> Answer:
        self._need("chat:write")
        channel = self._workspace.channel(str(given.get("channel", "")))
        post = channel.post(str(given.get("ts", "")))
        if post.get("bot_id") != self._app.bot:
            raise ApiError("cant_update_message")
        post.update(self._content(given))
        if "blocks" not in given or self._workspace.marks_edits:
            post["edited"] = {"user": self._app.user, "ts": self._workspace.stamp()}
        for number, block in enumerate(post.get("blocks") or ()):
            block.setdefault("block_id", f"u{number}")
        shown = self._workspace.shown(post, metadata=True)
        return {"channel": channel.id, "ts": post["ts"], "text": post["text"], "message": shown}

    def _history(self, given: Arguments) -> Answer:
        channel = self._readable(str(given.get("channel", "")), "history")
        inclusive = _flag(given.get("inclusive"))
        oldest, latest = float(given.get("oldest") or 0), float(given.get("latest") or "inf")
        posts = [
            post
            for post in reversed(channel.posts)
            if post.get("thread_ts", post["ts"]) == post["ts"]
            and (oldest < float(post["ts"]) < latest
                 or (inclusive and float(post["ts"]) in (oldest, latest)))
        ]  # fmt: skip
        return self._paged("messages", posts, given)

    def _replies(self, given: Arguments) -> Answer:
        channel = self._readable(str(given.get("channel", "")), "history")
        thread = str(given.get("ts", ""))
        if all(post["ts"] != thread for post in channel.posts):
            raise ApiError("thread_not_found")
        posts = [p for p in channel.posts if thread in (p["ts"], p.get("thread_ts"))]
        return self._paged("messages", posts, given)

    def _reactions(self, given: Arguments) -> Answer:
        self._need("reactions:read")
        channel = self._inside(self._workspace.channel(str(given.get("channel", ""))))
        post = channel.post(str(given.get("timestamp", "")))
        shown = self._workspace.shown(post, full=_flag(given.get("full")))
        return {"type": "message", "channel": channel.id, "message": shown}

    def _user(self, given: Arguments) -> Answer:
        self._need("users:read")
        found = self._workspace.users.get(str(given.get("user", "")))
        if found is None:
            raise ApiError("user_not_found")
        shown = found.shown()
        if "users:read.email" not in self._app.scopes:
            del shown["profile"]["email"]
        return {"user": shown}

    def _by_email(self, given: Arguments) -> Answer:
        self._need("users:read.email")
        address = str(given.get("email", "")).lower()
        for user in self._workspace.users.values():
            if user.email == address and not user.deleted:
                return {"user": user.shown()}
        raise ApiError("users_not_found")

    def _group(self, given: Arguments) -> Answer:
        self._need("usergroups:read")
        members = self._workspace.groups.get(str(given.get("usergroup", "")))
        if members is None:
            raise ApiError("no_such_subteam")
        return {"users": list(members)}

    def _channels(self, given: Arguments) -> Answer:
        types = str(given.get("types") or "public_channel").split(",")
        for kind, scope in (
            ("public_channel", "channels:read"),
            ("private_channel", "groups:read"),
        ):
            if kind in types:
                self._need(scope)
        found = [
            {"id": channel.id, "name": channel.name, "is_private": channel.private}
            for channel in self._workspace.channels.values()
            if self._app.user in channel.members
            and ("private_channel" if channel.private else "public_channel") in types
            and not (channel.archived and _flag(given.get("exclude_archived")))
        ]
        return self._paged("channels", found, given)

    def _info(self, given: Arguments) -> Answer:
        channel = self._workspace.channel(str(given.get("channel", "")))
        self._need(f"{'groups' if channel.private else 'channels'}:read")
        member = self._app.user in channel.members
        if channel.private and not member:
            raise ApiError("channel_not_found")
        shown = {
            "id": channel.id, "name": channel.name, "is_private": channel.private,
            "is_archived": channel.archived, "is_member": member,
        }  # fmt: skip
        return {"channel": shown}

    def _upload_url(self, given: Arguments) -> Answer:
        self._need("files:write")
        if not given.get("filename") or int(given.get("length") or 0) <= 0:
            raise ApiError("invalid_arguments")
        id = f"F{secrets.token_hex(5).upper()}"
        self._workspace.files[id] = {
            "name": given["filename"], "length": int(given["length"]), "content": None,
        }  # fmt: skip
        return {"file_id": id, "upload_url": f"{self._base_url}/upload/v1/{id}"}

    def _complete_upload(self, given: Arguments) -> Answer:
        self._need("files:write")
        done = []
        for each in _json(given.get("files")) or ():
            kept = self._workspace.files.get(each["id"])
            if kept is None or kept["content"] is None:
                raise ApiError("file_not_found")
            done.append({"id": each["id"], "title": each.get("title", kept["name"])})
        if given.get("channel_id"):
            channel = self._inside(self._workspace.channel(str(given["channel_id"])))
            post: Post = {
                "type": "message", "user": self._app.user, "bot_id": self._app.bot,
                "text": str(given.get("initial_comment") or ""), "files": done,
            }  # fmt: skip
            self._workspace.put(channel, post)
        return {"files": done}

    def _paged(self, key: str, items: list[Any], given: Arguments) -> Answer:
        limit = int(given.get("limit") or 100)
        if not 0 < limit <= _MOST_PAGE:
            raise ApiError("invalid_limit")
        start = 0
        if given.get("cursor"):
            try:
                start = int(base64.b64decode(str(given["cursor"])).removeprefix(b"next:"))
            except ValueError as error:
                raise ApiError("invalid_cursor") from error
        end = start + limit
        more = end < len(items)
        cursor = base64.b64encode(b"next:%d" % end).decode() if more else ""
        page = items[start:end]
        if key == "messages":
            metadata = _flag(given.get("include_all_metadata"))
            page = [self._workspace.shown(post, metadata=metadata) for post in page]
        return {key: page, "has_more": more, "response_metadata": {"next_cursor": cursor}}


def _flag(value: Any) -> bool:
    return str(value).lower() in ("1", "true")


def _json(value: Any) -> Any:
    """What came as JSON within a form, or as itself."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ApiError("invalid_json") from error
