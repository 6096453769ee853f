"""Requests that are held now, so that a client can take one back by its id."""

from collections.abc import Callable
from dataclasses import dataclass, field

from thoughtgate_proxy.core.message import Id


@dataclass(eq=False, slots=True)
class Caller:
    """One held request; `take_back` ends it without an answer.

    `session` is its `Mcp-Session-Id`. `sent` is the id with which its call went to the server, once
    it has.
    """

    id: Id
    session: str | None
    credential: str
    take_back: Callable[[], None]
    sent: Callable[[], Id | None] = field(default=lambda: None)


class Callers:
    """All of them. Two requests of a client that names no session may have the same id."""

    def __init__(self) -> None:
        self._held: dict[tuple[str | None, type, Id], list[Caller]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    def enter(self, caller: Caller) -> None:
        """It is held from now on."""
        self._held.setdefault(_key(caller.session, caller.id), []).append(caller)

    def leave(self, caller: Caller) -> None:
        """It is not held any more."""
        key = _key(caller.session, caller.id)
        held = self._held.get(key, [])
        if caller in held:
            held.remove(caller)
        if not held:
            self._held.pop(key, None)

    def find(self, id: object, session: str | None, credential: str) -> Caller | None:
        """The request that a notification means; without a session only if one alone can be meant.

        `id` is its `requestId`, as it came.
        """
        if isinstance(id, bool) or not isinstance(id, str | int):
            return None
        held = [c for c in self._held.get(_key(session, id), ()) if c.credential == credential]
        return held[0] if len(held) == 1 else None


def _key(session: str | None, id: Id) -> tuple[str | None, type, Id]:
    return session, type(id), id
