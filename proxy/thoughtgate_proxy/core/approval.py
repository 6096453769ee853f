"""One request for a human's approval: what is asked, and the states that it goes through."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from thoughtgate_proxy.core.config.values import Kind

MOST_SENDINGS: Final = 3
"""How often an approved call is sent to a server that turns it away."""
KEPT_SECONDS: Final = 3600.0
"""How long an approval that ended is kept, with its arguments and its result. Then it is gone."""


class State(StrEnum):
    """Where an approval stands. What may follow what is `TRANSITIONS`, and nothing else."""

    PENDING = "pending"
    APPROVED = "approved"
    SENDING = "sending"
    DONE = "done"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """It was being sent when we were cut off: the server may or may not have acted."""

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self in _ENDS


class Ending(StrEnum):
    """How an approval ended, finer than its state: each is another sentence for the client."""

    DONE = "done"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    """Nobody decided in time."""
    NOT_USED = "not_used"
    """Approved, and its caller did not come for it within `valid_for`."""
    CANCELLED = "cancelled"
    """By its caller."""
    DISCONNECTED = "disconnected"
    """Its caller left, and the workflow says `on_disconnect: cancel`."""
    FROZEN = "frozen"
    RECONFIGURED = "reconfigured"
    """The workflow or the server that it was for is not what it was."""
    RULED_OUT = "ruled_out"
    """Asked again before sending, gates 1 to 3 said no."""
    TURNED_AWAY = "turned_away"
    """Approved, and its server turned it away as often as it is sent."""
    NOT_TOLD = "not_told"
    """The humans could not be told of it."""
    UNKNOWN = "unknown"


class Transition(StrEnum):
    """What can happen to an approval."""

    APPROVE = "approve"
    REJECT = "reject"
    EXPIRE = "expire"
    CANCEL = "cancel"
    SEND = "send"
    FINISH = "finish"
    NOT_SENT = "not_sent"
    """No byte of the call left, or its server turned it away: the approval still counts."""
    CUT = "cut"


TRANSITIONS: Final[Mapping[tuple[State, Transition], State]] = {
    (State.PENDING, Transition.APPROVE): State.APPROVED,
    (State.PENDING, Transition.REJECT): State.REJECTED,
    (State.PENDING, Transition.EXPIRE): State.EXPIRED,
    (State.PENDING, Transition.CANCEL): State.CANCELLED,
    # Rejection wins over approval, as long as the call has not gone.
    (State.APPROVED, Transition.REJECT): State.REJECTED,
    (State.APPROVED, Transition.EXPIRE): State.EXPIRED,
    (State.APPROVED, Transition.CANCEL): State.CANCELLED,
    (State.APPROVED, Transition.SEND): State.SENDING,
    (State.SENDING, Transition.FINISH): State.DONE,
    (State.SENDING, Transition.NOT_SENT): State.APPROVED,
    (State.SENDING, Transition.CUT): State.UNKNOWN,
}

_ENDS: Final = frozenset(State) - {state for state, _ in TRANSITIONS}


class NoSuchTransition(ValueError):
    """The approval is past this step already, or not there yet."""


def after(state: State, step: Transition) -> State:
    """The state that `step` leads to. Raises `NoSuchTransition`."""
    found = TRANSITIONS.get((state, step))
    if found is None:
        allowed = ", ".join(s.value for at, s in TRANSITIONS if at is state) or "nothing"
        raise NoSuchTransition(f"`{step}` cannot follow `{state}`; allowed: {allowed}")
    return found


class VoteValue(StrEnum):
    """One approver's verdict."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Vote:
    """An approver's vote, from a channel that knows who they are and that they may decide.

    `approver` is the channel's own stable id of the person (nobody counts twice), `name` is for
    people, `at` is Unix time in seconds, `reason` is what the approver wrote, if anything.
    """

    approver: str
    name: str
    verdict: VoteValue
    at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """Exactly what is to be approved, and what will be sent.

    `target` is the raw HTTP request target for the server; `name` a tool's or prompt's name, or a
    resource's URI; `body` the bytes of the JSON-RPC request, as they will be sent; `digest` binds
    all of it and the caller's credential (`core.binding`).

    `credential` is the SHA-256 of the request's `Authorization` in hex, empty without one: it tells
    whose tasks these are. `headers` are the request's `Mcp-Method`, `Mcp-Name` and `Mcp-Param-*`,
    names in lower case: a `tasks/get` that carries the call has others, and a server must refuse a
    call without them (revision 2026-07-28, streamable HTTP, "Custom Headers"). `bind_meta` are the
    keys of `_meta` that are in the digest.
    """

    principal: str
    source: str
    method: str
    kind: Kind
    name: str
    target: str
    body: bytes
    digest: str
    credential: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    bind_meta: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """Why a human is asked, and under which workflow.

    `reason` is the decision's sentence; `rule`, `match` and `policies` as in `core.decision`;
    `description` is what the server claims of the tool, if it was listed.
    """

    workflow: str
    adapter: str
    reason: str
    gate: str
    rule: int | None = None
    match: str | None = None
    policies: tuple[str, ...] = ()
    config: str = ""
    description: str | None = None
    namespace: str | None = None
    pod: str | None = None
    correlation: str = ""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """One request for approval, as the store has it. Times are Unix time in seconds.

    `expires` is when humans must have decided; `valid_until` when an approval that was given must
    have been used; `reason` says why it ended (a rejection's reason in the approver's words);
    `message_ref` is the channel's own note of where it asked the humans, None until it has;
    `notified` is the state of which they were told last;
    `result` is the server's JSON-RPC response as it came, kept for a while.
    """

    id: str
    call: Call
    asked: Asked
    opened: float
    expires: float
    required: int = 1
    state: State = State.PENDING
    votes: tuple[Vote, ...] = ()
    decided: float | None = None
    valid_until: float | None = None
    ended: float | None = None
    ending: Ending | None = None
    reason: str = ""
    message_ref: str | None = None
    notified: State | None = None
    caller_left: bool = False
    delivered: bool = False
    result: bytes | None = None

    def voted(self, vote: Vote) -> "Approval":
        """This, with one more vote; the last word of each approver counts."""
        others = tuple(v for v in self.votes if v.approver != vote.approver)
        return replace(self, votes=(*others, vote))

    @property
    def enough(self) -> bool:
        """Whether as many approve as are required, and nobody rejects."""
        approving = sum(v.verdict is VoteValue.APPROVE for v in self.votes)
        return approving == len(self.votes) and approving >= self.required

    @property
    def approvers(self) -> tuple[str, ...]:
        """The names of those who approved, in the order of their votes."""
        return tuple(v.name for v in self.votes if v.verdict is VoteValue.APPROVE)
