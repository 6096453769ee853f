"""The only thing that the upstream sends for."""

from dataclasses import dataclass

from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.decision import Decision


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to send exactly this to `source`: HTTP method, request target, and body bytes.

    INVARIANT: made by `core.gate` alone, and every one of `decisions` goes on; a test holds it.
    """

    source: Source
    method: str
    target: str
    body: bytes = b""
    decisions: tuple[Decision, ...] = ()

    def __post_init__(self) -> None:
        if not all(decision.goes_on for decision in self.decisions):
            raise ValueError("a permit was asked for what was not decided to go on")
