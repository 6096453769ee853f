"""How an upstream can fail; the messages are for the log, and hold no secrets."""


class UpstreamError(Exception):
    """The upstream gave no reply.

    `sent` tells whether any byte of the request was written: if so, the server may have acted on
    it, and nothing may send it again.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class TurnedAway(UpstreamError):
    """The server answered that it has not acted, for a reason that may pass."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, sent=False)


class Restarting(UpstreamError):
    """No reply by the time that the proxy had to end."""

    def __init__(self) -> None:
        super().__init__("the proxy had to end before the reply did", sent=True)


class UpstreamTimedOut(UpstreamError):
    """No connection, or no reply, within the source's timeouts."""
