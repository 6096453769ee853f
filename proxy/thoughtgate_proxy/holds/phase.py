"""The phases of a held request's stream, and which may follow which."""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Phase(Enum):
    """Where a held request stands."""

    OPENED = "opened"
    """Nothing is written."""
    PENDING = "pending"
    """It waits for a human."""
    SENDING = "sending"
    """It waits for the server's response, and passes on what the server says before."""
    STREAMING = "streaming"
    """Its subscription has begun, and the server's events pass."""
    ANSWERED = "answered"
    """The outcome of its approval is written."""
    DEFERRED = "deferred"
    """An answer is written that leaves the approval as it is: sent round, not sent, restarting."""
    TAKEN_BACK = "taken back"
    """Its client wants no answer."""
    ENDED = "ended"
    """Nothing more is written, and nothing waits for it."""


# Any of them may end, since its client may go.
NEXT: Final[Mapping[Phase, tuple[Phase, ...]]] = {
    Phase.OPENED: (Phase.PENDING, Phase.TAKEN_BACK, Phase.ENDED),
    Phase.PENDING: (Phase.SENDING, Phase.DEFERRED, Phase.TAKEN_BACK, Phase.ENDED),
    Phase.SENDING: (
        Phase.STREAMING, Phase.ANSWERED, Phase.DEFERRED, Phase.TAKEN_BACK, Phase.ENDED,
    ),
    Phase.STREAMING: (Phase.TAKEN_BACK, Phase.ENDED),
    Phase.ANSWERED: (Phase.ENDED,),
    Phase.DEFERRED: (Phase.ENDED,),
    Phase.TAKEN_BACK: (Phase.ENDED,),
    Phase.ENDED: (),
}  # fmt: skip
