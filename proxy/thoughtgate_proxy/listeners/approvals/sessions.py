"""Who is signed in to the page, and how often somebody may guess at a token."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from thoughtgate_proxy.approvals.channels.page.tokens import Approver, Approvers

SESSION_SECONDS: Final = 12 * 3600.0
_MOST_SESSIONS = 200
_GUESSES = 10
_SECONDS_A_GUESS = 5.0


@dataclass(frozen=True, slots=True)
class _Session:
    key: bytes
    approver: Approver
    until: float


class Sessions:
    """Sessions in memory; each needs two secrets to be used.

    The cookie is out of scripts' reach, but browsers send the cookies of `localhost` to every port
    of it, so to an agent's own page behind another port-forward too. The key is kept by the page's
    script, which only this port's pages can ask for it, and it goes where no form can put it.
    """

    def __init__(self, approvers: Approvers, now: Callable[[], float]) -> None:
        """`now` is monotonic, in seconds."""
        self._approvers, self._now = approvers, now
        self._open: dict[bytes, _Session] = {}

    def open(self, approver: Approver) -> tuple[str, str]:
        """A new session's cookie and key."""
        cookie, key = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        while len(self._open) >= _MOST_SESSIONS:
            del self._open[next(iter(self._open))]
        until = self._now() + SESSION_SECONDS
        self._open[_mark(cookie)] = _Session(_mark(key), approver, until)
        return cookie, key

    def approver(self, cookie: str, key: str) -> Approver | None:
        """Whose session that is, as long as it lasts and the file has its token."""
        # Looked up by digest: the time taken tells nothing of the secret.
        session = self._open.get(_mark(cookie))
        if session is None or not secrets.compare_digest(session.key, _mark(key)):
            return None
        if self._now() >= session.until or not self._approvers.stands(session.approver):
            self.close(cookie)
            return None
        return session.approver

    def close(self, cookie: str) -> None:
        """End a session, if there is one."""
        self._open.pop(_mark(cookie), None)


def _mark(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Guesses:
    """Wrong tokens that may still be tried: a few at once, then one every few seconds.

    They count for all together, since the agent and every approver come from the same address.
    Whoever uses them up keeps others from signing in, and gets no further with it: sessions go on.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is monotonic, in seconds."""
        self._now = now
        self._full_again = 0.0

    def wait(self) -> float:
        """Seconds until a token is looked at again; 0 if one is now."""
        taken = self._full_again - self._now()
        return max(0.0, taken - (_GUESSES - 1) * _SECONDS_A_GUESS)

    def wrong(self) -> None:
        """A wrong token was tried."""
        self._full_again = max(self._full_again, self._now()) + _SECONDS_A_GUESS
