"""The only thing that the upstream sends for."""

import msgspec

from thoughtgate_proxy.core.approval import Approval, State
from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.policy.decision import Decision, Outcome


class Permit(msgspec.Struct, frozen=True):
    """Leave to send exactly this to `source`: HTTP method, request target, and body bytes.

    `approved` is the evidence that humans approved this call, and that it is being sent once.
    INVARIANT: made by `core.gate` alone, and every one of `decisions` goes on, or is a hold for
    which there is such evidence; a test holds it.
    """

    source: Source
    method: str
    target: str
    body: bytes = b""
    decisions: tuple[Decision, ...] = ()
    approved: Approval | None = None

    def __post_init__(self) -> None:
        for decision in self.decisions:
            if not decision.goes_on and not self._held_for(decision):
                raise ValueError("a permit was asked for what was not decided to go on")

    def _held_for(self, decision: Decision) -> bool:
        evidence = self.approved
        return (
            decision.outcome is Outcome.HOLD
            and evidence is not None
            and evidence.state is State.SENDING
            and evidence.enough
            and decision.workflow == evidence.asked.workflow
            and (evidence.call.source, evidence.call.target, evidence.call.body)
            == (self.source.id, self.target, self.body)
        )
