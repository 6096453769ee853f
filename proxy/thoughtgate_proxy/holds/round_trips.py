"""Round trips: what sends a client round, and what it brings back (2026-07-28)."""

from collections.abc import Callable, Sequence
from typing import Final

from thoughtgate_proxy.approvals.service import ApprovalService
from thoughtgate_proxy.core.approval import Approval
from thoughtgate_proxy.core.policy import call_digest
from thoughtgate_proxy.holds.request import HeldRequest
from thoughtgate_proxy.mcp import answers, approval_texts, request_state, rewrite
from thoughtgate_proxy.mcp.answers import Addressee
from thoughtgate_proxy.mcp.request_state import Forged, RequestState

# Both SDKs give up after as many rounds.
MOST_ROUNDS: Final = 10
# How long a user may take to answer what the server of an approved call asks back.
_ANSWER_SECONDS: Final = 3600.0
# A state is good for longer than its approval, so that a late leg still hears how that ended.
_LATE_SECONDS: Final = 600.0


class RoundTrips:
    """The `requestState`s that are handed out and taken back."""

    def __init__(
        self,
        approvals: ApprovalService,
        principal: str,
        new_nonce: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        """`new_nonce` gives what nobody can guess; `now` is Unix time in seconds."""
        self._approvals, self._principal = approvals, principal
        self._new_nonce, self._now = new_nonce, now

    async def take_state(self, held: HeldRequest) -> RequestState | None:
        """The state of ours that a request brings, used up; None if it brings none.

        Raises `Forged`, `StoreUnavailable`.
        """
        text = held.request.params.get("requestState")
        if not isinstance(text, str) or not text.startswith(call_digest.OUR_STATE):
            return None
        state = request_state.opened(text, self._approvals.verify)
        body = rewrite.without(held.body, "inputResponses") if state.answers else held.body
        approval = await self._approvals.find(state.approval)
        digest = self.digest(held, body, _bind_meta(approval))
        now = self._now()
        request_state.check(state, principal=self._principal, digest=digest, now=now)
        if not await self._approvals.spend(state.nonce, state.expires):
            text = "`requestState` was used before: the same call without it joins its request"
            raise Forged(text)
        return state

    def digest(self, held: HeldRequest, body: bytes, bind_meta: Sequence[str]) -> str:
        """What binds an approval to `body`, as this caller sends it."""
        return call_digest.digest(
            principal=self._principal, source=held.source.id, target=held.target,
            body=body, credential=held.credential, bind_meta=bind_meta,
        )  # fmt: skip

    def input_required(self, to: Addressee, approval: Approval, number: int) -> bytes:
        """What sends the client round for the time `number`, or tells it that it is enough."""
        if number >= MOST_ROUNDS:
            return approval_texts.pending(approval, to.subject).response(to)
        expires = (approval.valid_until or approval.expires) + _LATE_SECONDS
        state = RequestState(
            approval=approval.id, principal=self._principal, digest=approval.call.digest,
            expires=expires, round=number, nonce=self._new_nonce(),
        )  # fmt: skip
        result = {"resultType": "input_required", "requestState": self._sealed(state)}
        return answers.result(to.id, result)

    def wrap_question(
        self,
        held: HeldRequest,
        id: str,
        approval: Approval | None,
        number: int,
        question: bytes,
    ) -> bytes:
        """A response that asks back, with a state that makes its answer one of `id`."""
        body = rewrite.without(held.body, "inputResponses", "requestState")
        digest = self.digest(held, body, _bind_meta(approval))
        state = RequestState(
            approval=id, principal=self._principal, digest=digest,
            expires=self._now() + _ANSWER_SECONDS, round=number, nonce=self._new_nonce(),
            answers=True, server=rewrite.request_state(question),
        )  # fmt: skip
        return rewrite.with_request_state(question, self._sealed(state))

    def _sealed(self, state: RequestState) -> str:
        return request_state.sealed(state, self._approvals.sign)


def _bind_meta(approval: Approval | None) -> Sequence[str]:
    """The keys of `_meta` that the approval binds."""
    return approval.call.bind_meta if approval is not None else ()
