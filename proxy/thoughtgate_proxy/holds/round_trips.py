"""Round trips: what sends a client round, and what it brings back (2026-07-28)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from thoughtgate_proxy.approvals.service import ApprovalService
from thoughtgate_proxy.core.approval import Approval
from thoughtgate_proxy.core.policy import call_digest
from thoughtgate_proxy.holds.request import HeldRequest
from thoughtgate_proxy.mcp import answers, approval_texts, raw_json, request_state, rewrite
from thoughtgate_proxy.mcp.answers import Addressee
from thoughtgate_proxy.mcp.request_state import Forged, RequestState

# Both SDKs give up after as many rounds.
MOST_ROUNDS: Final = 10
# How long a user may take to answer what the server of an approved call asks back.
_ANSWER_SECONDS: Final = 3600.0
# A state is good for longer than its approval, so that a late leg still hears how that ended.
_LATE_SECONDS: Final = 600.0


class RoundTrips:
    """The states that are handed out and taken back."""

    def __init__(
        self,
        desk: ApprovalService,
        principal: str,
        new_nonce: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        """`new_nonce` gives what nobody can guess; `now` is Unix time in seconds."""
        self._desk, self._principal = desk, principal
        self._new_nonce, self._now = new_nonce, now

    async def brought(self, arrival: HeldRequest) -> RequestState | None:
        """The state of ours that a request brings, used up. Raises `Forged`."""
        text = arrival.request.params.get("requestState")
        if not isinstance(text, str) or not text.startswith(call_digest.OUR_STATE):
            return None
        state = request_state.opened(text, self._desk.verify)
        body = arrival.body
        if state.answers:
            body = without(body, "inputResponses")
        digest = self.digest(arrival, body)
        now = self._now()
        request_state.check(state, principal=self._principal, digest=digest, now=now)
        if not await self._desk.spend(state.nonce, state.expires):
            said = "`requestState` was used before: the same call without it joins its request"
            raise Forged(said)
        return state

    def digest(self, arrival: HeldRequest, body: bytes) -> str:
        """What binds an approval to `body`, as this caller sends it."""
        return call_digest.digest(
            principal=self._principal, source=arrival.source.id, target=arrival.target,
            body=body, credential=arrival.credential,
        )  # fmt: skip

    def sent_round(self, to: Addressee, approval: Approval, number: int) -> bytes:
        """What sends the client round for the time `number`, or tells it that it is enough."""
        if number >= MOST_ROUNDS:
            said = approval_texts.pending(approval, to.subject)
            return answers.told(to, said.code, said.text, said.facts)
        expires = (approval.valid_until or approval.expires) + _LATE_SECONDS
        state = RequestState(
            approval=approval.id, principal=self._principal, digest=approval.call.digest,
            expires=expires, round=number, nonce=self._new_nonce(),
        )  # fmt: skip
        asked = {"resultType": "input_required", "requestState": self._sealed(state)}
        return msgspec.json.encode({"jsonrpc": "2.0", "id": to.id, "result": asked})

    def wrapped(self, arrival: HeldRequest, approval: str, number: int, response: bytes) -> bytes:
        """A server's question, whose answer will be of the same approval."""
        digest = self.digest(arrival, without(arrival.body, "inputResponses", "requestState"))
        state = RequestState(
            approval=approval, principal=self._principal, digest=digest,
            expires=self._now() + _ANSWER_SECONDS, round=number, nonce=self._new_nonce(),
            answers=True, server=rewrite.server_state(response),
        )  # fmt: skip
        return rewrite.with_state(response, self._sealed(state))

    def _sealed(self, state: RequestState) -> str:
        return request_state.sealed(state, self._desk.sign)


@dataclass(frozen=True, slots=True)
class Turn:
    """One request in a row of round trips, the first being `number` 1."""

    rounds: RoundTrips
    arrival: HeldRequest
    number: int

    def sent_round(self, to: Addressee, approval: Approval) -> bytes:
        """The answer that sends its client round."""
        return self.rounds.sent_round(to, approval, self.number)

    def wrapped(self, approval: Approval, response: bytes) -> bytes:
        """A server's question, as the client gets it."""
        return self.rounds.wrapped(self.arrival, approval.id, self.number, response)


def without(body: bytes, *keys: str) -> bytes:
    """A request without some of its params; everything else keeps its bytes."""
    held = raw_json.members(body)
    params = raw_json.members(held["params"]) if held and "params" in held else None
    if held is None or params is None or not any(key in params for key in keys):
        return body
    kept = {key: value for key, value in params.items() if key not in keys}
    return msgspec.json.encode(held | {"params": raw_json.encoded(kept)})
