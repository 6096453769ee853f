"""The desk: opens approvals, waits for them, and sends each approved call once."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from thoughtgate_proxy.core.approval import Approval, Asked, Call, Ending
from thoughtgate_proxy.core.config.values import Workflow
from thoughtgate_proxy.core.permit import Permit

Send = Callable[[Permit], Awaitable[bytes | None]]
"""Sends an approved call, once, with the headers of the request that carries it.

It gives the server's JSON-RPC response as the client shall have it (an error event made of a
non-2xx reply counts as one), with the id of the call's own body; None if it is too long to be kept.
It raises `UpstreamError` (`sent` tells whether a byte was written) or `ReplyCut`. It runs in a task
of the desk's own, which goes on when the client has left: so it must not raise when only the
*client's* side breaks, but read the reply to its end.
"""


class Refused(Exception):
    """The humans were not asked; `reason` is one line for the agent.

    `kind` is a word for the metric: `pending_approvals`, `workflow_limit`, `no_workflow`,
    `store` (full, read-only, broken), `closing`. `retry_after` is in seconds.
    """

    def __init__(self, reason: str, kind: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.kind, self.retry_after = reason, kind, retry_after


class Closed(Exception):
    """The proxy is ending. What is pending stays so on disk: the same call joins it later."""


class OtherCaller(Exception):
    """The request that would carry the call has another credential than the one that asked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call.

    `approval.state` says it: DONE (with `result`, None if it was too long to be kept), UNKNOWN,
    REJECTED, EXPIRED, CANCELLED (`approval.ending` and `.reason` say why), or APPROVED: no byte
    could be sent, `not_sent` says why in one line, and the approval counts until `valid_until`.
    `shared`: somebody else's request carried the call, and this is its result (with the id of the
    request whose body was sent).
    """

    approval: Approval
    result: bytes | None = None
    shared: bool = False
    not_sent: str | None = None


class Attendance:
    """One request of the caller that is waiting."""

    def answered(self) -> None:
        """It got an answer, be it only that it shall come back."""
        raise NotImplementedError


class Desk:
    """Keeps the approvals of one process. All times are Unix time in seconds."""

    async def open(self, call: Call, asked: Asked, workflow: Workflow) -> Approval:
        """Ask the humans of `workflow`, or join what the same call (its digest) asked before.

        On disk when it returns. The humans are told in the background: if they cannot be, the
        approval ends as CANCELLED with `Ending.NOT_TOLD`. What is joined may be in any state:
        PENDING, APPROVED, SENDING; a rejection of less than a minute ago; a DONE or UNKNOWN that no
        client has got yet. So go on with `settled`, then `dispatch`, whatever comes back.
        Raises `Refused`.
        """
        raise NotImplementedError

    async def settled(self, id: str, seconds: float) -> Approval:
        """Wait until the approval is not PENDING any more, at most `seconds`; gives what it is.

        A SENDING one counts as settled: `dispatch` waits for its end. Raises `Closed`, and
        `KeyError` if no approval has that id.
        """
        raise NotImplementedError

    async def dispatch(self, id: str, credential: str, send: Send) -> Outcome:
        """Send the approved call by `send`, if nobody else does or did; give what became of it.

        `credential` is `core.binding.credential` of the request that would carry it. The gates are
        asked again first. Of several who call it at once one sends, and the others get the shared
        outcome. Where the approval has ended `send` is not called, and the outcome says how.
        Cancelling the caller does not cancel the sending. Raises `Closed` (before sending),
        `OtherCaller`, `NoSuchStep` if it is PENDING, and `KeyError` if no approval has that id.
        """
        raise NotImplementedError

    async def delivered(self, id: str) -> None:
        """A client has got the outcome: the same call is a new request from now on."""
        raise NotImplementedError

    async def find(self, id: str) -> Approval | None:
        """An approval with its result if that is still kept; None once it is forgotten."""
        raise NotImplementedError

    def of_caller(self, principal: str, credential: str) -> Sequence[Approval]:
        """The caller's approvals, newest first, without results: for `tasks/list`."""
        raise NotImplementedError

    def attending(self, id: str) -> AbstractContextManager[Attendance]:
        """While a request waits for `id`. If it ends without `Attendance.answered`, the caller left.

        When the last one leaves a PENDING or APPROVED approval, that is marked, told to the humans,
        and under `on_disconnect: cancel` cancelled. Coming back takes the mark away.
        """
        raise NotImplementedError

    async def cancel(self, id: str, reason: str, ending: Ending = Ending.CANCELLED) -> Approval:
        """End a PENDING or APPROVED one, by its caller's wish. Raises `NoSuchStep`, `KeyError`."""
        raise NotImplementedError

    def sign(self, payload: bytes) -> bytes:
        """The MAC (HMAC-SHA256, 32 bytes) of `payload`, with the key that the store keeps."""
        raise NotImplementedError

    def verify(self, payload: bytes, mac: bytes) -> bool:
        """Whether `sign` made `mac` of `payload`, in this process or an earlier one."""
        raise NotImplementedError

    async def spend(self, nonce: str, until: float) -> bool:
        """Use up `nonce`: True the first time only, also across restarts, until `until`."""
        raise NotImplementedError
