"""Requests that are held now, so that a client can take one back by its id."""

from typing import Protocol

from thoughtgate_proxy.core.protocol.message import Id


class Caller(Protocol):
    """One held request."""

    @property
    def key(self) -> "Key":
        """How its client names it: its `Mcp-Session-Id`, and its id with the id's type."""

    @property
    def credential(self) -> str:
        """Whose it is."""

    def take_back(self) -> None:
        """End it without an answer."""

    def sent_id(self) -> Id | None:
        """The id with which its call went to the server, once it has."""


Key = tuple[str | None, type, Id]


def key(session: str | None, id: Id) -> Key:
    """Without its type the id `1` would be `True` as well."""
    return session, type(id), id


class InFlight:
    """All of them. Two requests of a client that names no session may have the same id."""

    def __init__(self) -> None:
        self._held: dict[Key, list[Caller]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    def enter(self, caller: Caller) -> None:
        """It is held from now on."""
        self._held.setdefault(caller.key, []).append(caller)

    def leave(self, caller: Caller) -> None:
        """It is not held any more."""
        held = self._held.get(caller.key, [])
        if caller in held:
            held.remove(caller)
        if not held:
            self._held.pop(caller.key, None)

    def find(self, id: object, session: str | None, credential: str) -> Caller | None:
        """The request that a notification means; without a session only if one alone can be meant.

        `id` is its `requestId`, as it came.
        """
        if isinstance(id, bool) or not isinstance(id, str | int):
            return None
        held = [c for c in self._held.get(key(session, id), ()) if c.credential == credential]
        return held[0] if len(held) == 1 else None
