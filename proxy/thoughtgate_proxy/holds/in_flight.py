"""Requests that are held now, and calls that are being sent for them."""

from typing import Protocol

from thoughtgate_proxy.core.protocol.message import Id
from thoughtgate_proxy.holds.server_call import ServerCall

Key = tuple[str | None, type, Id]
"""How a client names a request: its `Mcp-Session-Id`, and the request's id with the id's type."""


class Cancellable(Protocol):
    """A held request."""

    @property
    def key(self) -> Key:
        """How its client names it."""

    @property
    def credential(self) -> str:
        """Whose it is."""

    def take_back(self) -> None:
        """End it without an answer."""

    def sent_id(self) -> Id | None:
        """The id with which its call went to the server, once it has."""


def key(session: str | None, id: Id) -> Key:
    """Without its type the id `1` would be `True` as well."""
    return session, type(id), id


class InFlight:
    """All of them. Two requests of a client that names no session may have the same id."""

    def __init__(self) -> None:
        self._held: dict[Key, list[Cancellable]] = {}
        self.server_calls: dict[str, ServerCall] = {}
        """What is being sent now, by the id of its approval."""

    def enter(self, request: Cancellable) -> None:
        """It is held from now on."""
        self._held.setdefault(request.key, []).append(request)

    def leave(self, request: Cancellable) -> None:
        """It is not held any more."""
        held = self._held.get(request.key, [])
        if request in held:
            held.remove(request)
        if not held:
            self._held.pop(request.key, None)

    def find(self, id: object, session: str | None, credential: str) -> Cancellable | None:
        """The request that a notification means; without a session only if one alone can be meant.

        `id` is its `requestId`, as it came.
        """
        if isinstance(id, bool) or not isinstance(id, str | int):
            return None
        held = [r for r in self._held.get(key(session, id), ()) if r.credential == credential]
        return held[0] if len(held) == 1 else None
