"""The only thing that the upstream sends for, and the grounds on which it was given."""

from enum import Enum

import msgspec

from thoughtgate_proxy.core.approval import Approval, State
from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.policy import call_digest
from thoughtgate_proxy.core.policy.decision import Decision, Outcome
from thoughtgate_proxy.core.protocol.message import Message, Request


class PermitRefused(ValueError):
    """There is no permit; `decision` says why, as an answer can be made of it."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(f"a permit was asked for what may not go on: {decision.reason}")
        self.decision = decision


class BodilessRequest(Enum):
    """A request without a body names nothing that a gate could decide on."""

    LISTEN = "GET", "what the server says by itself; its listings are filtered"
    METADATA = "GET", "what the server publishes for authorization"
    SESSION_END = "DELETE", "the end of the client's own session"

    @property
    def method(self) -> str:
        """Its HTTP method."""
        return self.value[0]


# What is made anew for each request is a Struct: a frozen dataclass takes ten times as long.
class UngatedMessage(msgspec.Struct, frozen=True):
    """A message that names nothing a rule could match: no gate is asked of it."""

    message: Message

    def __post_init__(self) -> None:
        if isinstance(self.message, Request) and self.message.targets:
            raise ValueError("a permit was asked for a gated request without a decision")


class ForwardDecisions(msgspec.Struct, frozen=True):
    """What the gates said of a request, of which every target may be reached."""

    decisions: tuple[Decision, ...]

    def __post_init__(self) -> None:
        for decision in self.decisions:
            if not decision.goes_on:
                raise PermitRefused(decision)
        if not self.decisions:
            raise ValueError("a permit was asked for a request without a decision")


class ApprovalEvidence(msgspec.Struct, frozen=True):
    """Humans approved the call: it is being sent (once), or was, and its server has asked back.

    `decisions` are what the gates say of it now.
    """

    approval: Approval
    decisions: tuple[Decision, ...]

    def __post_init__(self) -> None:
        approval = self.approval
        if approval.state not in (State.SENDING, State.DONE) or not approval.enough:
            raise ValueError("a permit was asked for what nobody approved")
        for decision in self.decisions:
            held = decision.outcome is Outcome.HOLD
            if not decision.goes_on and not (held and decision.workflow == approval.asked.workflow):
                raise PermitRefused(decision)

    def covers(self, source: Source, method: str, target: str, body: bytes) -> bool:
        """Whether a request is the approved one, an answer to its server, or for its reply's rest.

        Of an answer all but the answer itself must be what was approved.
        """
        call = self.approval.call
        if (call.source, call.target) != (source.id, target):
            return False
        if method == "GET":
            return not body
        if self.approval.state is State.SENDING:
            sent = call_digest.without_carrier_meta
            return body == call.body or sent(body) == sent(call.body)
        return call_digest.without_answers(body) == call_digest.without_answers(call.body)


MessageGrounds = UngatedMessage | ForwardDecisions
BodyGrounds = MessageGrounds | tuple[MessageGrounds, ...]
"""A tuple has the grounds of each member of a batch."""


class Permit(msgspec.Struct, frozen=True):
    """Leave to send exactly this to `source`: HTTP method, request target, and body bytes.

    INVARIANT: made by `core.policy.engine` alone, and each of the `grounds` is proved where it is
    made; a test holds the first, mypy that there is no permit without any.
    """

    source: Source
    method: str
    target: str
    body: bytes
    grounds: BodilessRequest | BodyGrounds | ApprovalEvidence

    @property
    def approved(self) -> Approval | None:
        """The approval that is its evidence, if it needs one."""
        return self.grounds.approval if isinstance(self.grounds, ApprovalEvidence) else None

    def __post_init__(self) -> None:
        grounds, fits = self.grounds, True
        if isinstance(grounds, ApprovalEvidence):
            fits = grounds.covers(self.source, self.method, self.target, self.body)
        elif isinstance(grounds, BodilessRequest):
            fits = self.method == grounds.method and not self.body
        if not fits or grounds == ():
            raise ValueError("a permit was asked for another request than its grounds are for")
