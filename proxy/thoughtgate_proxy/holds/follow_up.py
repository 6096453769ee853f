"""A later leg of an approved call: the answer to what its server asks back (2026-07-28)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from thoughtgate_proxy.approvals.audit import AuditLog
from thoughtgate_proxy.core.approval import Approval
from thoughtgate_proxy.core.config.values import Config
from thoughtgate_proxy.core.policy.decision import Decision
from thoughtgate_proxy.core.policy.permit import ForwardDecisions, Permit, PermitRefused
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.http import HttpReply, ReplyCut
from thoughtgate_proxy.core.protocol.message import Request
from thoughtgate_proxy.holds.request import HeldRequest, json_reply
from thoughtgate_proxy.holds.round_trips import RoundTrips
from thoughtgate_proxy.holds.server_call import ServerCall
from thoughtgate_proxy.holds.stream import FORGOTTEN_TEXT, HEADERS, KEEP_ALIVE_SECONDS
from thoughtgate_proxy.mcp import answers, approval_texts, raw_json, rewrite
from thoughtgate_proxy.mcp.answers import Addressee
from thoughtgate_proxy.mcp.request_state import RequestState
from thoughtgate_proxy.mcp.sse import comment, event
from thoughtgate_proxy.upstream.errors import UpstreamError

_KEEP_ALIVE: Final = comment(b"waiting for the server")
_RESPONSES: Final = ("params", "inputResponses")
_STATE: Final = ("params", "requestState")


class FollowUps:
    """Sends on what clients answer to servers that asked back. No human is asked again."""

    def __init__(self, round_trips: RoundTrips, audit: AuditLog) -> None:
        self._round_trips, self._audit = round_trips, audit

    def reply(
        self,
        held: HeldRequest,
        decisions: tuple[Decision, ...],
        state: RequestState,
        approval: Approval | None,
        correlation: str,
    ) -> HttpReply:
        """Send on a request that brings `state`, with the server's own state in its place.

        `approval` is that of the state: without it only what needs none by now goes on.
        """
        request, body = held.request, rewrite.without(held.body, "requestState")
        if state.answers and state.server is not None:
            body = raw_json.put(body, _STATE, state.server)
        if approval is not None:
            body = rewrite.with_meta(body, approval.call.body, held.body)
        try:
            permit = _permit(held, body, decisions, approval)
        except KeyError:
            forgotten = answers.error(request.id, approval_texts.FORGOTTEN, FORGOTTEN_TEXT)
            return json_reply(forgotten)
        except PermitRefused as refused:
            deny_as = held.engine.config.governance.deny_as
            return json_reply(answers.refusal(request, refused.decision, correlation, deny_as))
        if state.answers:
            self._log(held, decisions, state.approval)
        wrap_question = self._round_trips.wrap_question
        wrap = partial(wrap_question, held, state.approval, approval, state.round + 1)
        token = rewrite.progress_token(held.request.params)
        return FollowUp(_call(held, held.head), permit, held.addressee, wrap).reply(token)

    async def response(self, held: HeldRequest, approval: Approval, question: bytes) -> bytes:
        """Send what `tasks/update` brings for a task whose server answered with `question`."""
        call = approval.call
        responses = raw_json.at(held.body, *_RESPONSES) or b"{}"
        body = raw_json.put(held.carry(call.body), _RESPONSES, msgspec.Raw(responses))
        if (state := rewrite.request_state(question)) is not None:
            body = raw_json.put(body, _STATE, state)
        request = message.read(body, max_batch=1)
        assert isinstance(request, Request)  # noqa: S101  it was one when it was approved
        now = asyncio.get_running_loop().time()
        decisions = held.engine.judge(held.source, request, now, again=True)
        to = Addressee.of(request, held.engine.config.governance.deny_as)
        try:
            permit = _permit(held, body, decisions, approval)
        except PermitRefused as refused:
            correlation = approval.asked.correlation
            return answers.refusal(request, refused.decision, correlation, to.deny_as)
        self._log(held, decisions, approval.id)
        server_call = _call(held, held.with_call_headers(call.headers))
        return await FollowUp(server_call, permit, to, lambda question: question).response()

    def _log(self, held: HeldRequest, decisions: Sequence[Decision], approval: str) -> None:
        """Write down what a client answered."""
        responses = raw_json.at(held.body, *_RESPONSES) or b"{}"
        config = held.engine.config
        self._audit.answered(
            approval, responses, config.audit.arguments, _redacted(config, decisions)
        )


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One such request. It goes to the server at once, and ends with its client.

    `wrap` makes of a further question of the server's the one that the client gets.
    """

    call: ServerCall
    permit: Permit
    to: Addressee
    wrap: Callable[[bytes], bytes]

    def reply(self, token: rewrite.Token | None) -> HttpReply:
        """The reply as a stream; `token` is the client's progress token."""
        self.call.listen()
        sending = asyncio.ensure_future(self.response())

        def close() -> None:
            sending.cancel()

        return HttpReply(200, HEADERS, self._events(sending, rewrite.Progress(token)), close)

    async def response(self) -> bytes:
        """The response alone, with the id of the request."""
        try:
            await self.call.send(self.permit)
        except UpstreamError as error:
            return self._failed(str(error), sent=error.sent)
        except ReplyCut as error:
            return self._failed(str(error), sent=True)
        response = self.call.response or b""
        if rewrite.requires_input(response):
            response = self.wrap(response)
        return rewrite.with_id(response, self.to.id)

    async def _events(
        self, sending: "asyncio.Future[bytes]", progress: rewrite.Progress
    ) -> AsyncIterator[bytes]:
        yield _KEEP_ALIVE
        while True:
            messages = await self.call.messages(sending, KEEP_ALIVE_SECONDS)
            for server_message in messages:
                if (piece := progress.passed(server_message, self.call.sent_token)) is not None:
                    yield piece
            if not messages:
                if sending.done():
                    break
                yield _KEEP_ALIVE
        yield event(sending.result())

    def _failed(self, reason: str, *, sent: bool) -> bytes:
        text = f"the MCP server of {self.to.subject} gave no reply: {reason}"
        code = answers.UPSTREAM_DOWN
        if sent:
            text += "; whether it acted on it is unknown, and it was not sent again"
            code = approval_texts.UNKNOWN_OUTCOME
        return answers.error(self.to.id, code, text)


def _call(held: HeldRequest, head: Head) -> ServerCall:
    return ServerCall(held.dispatch(head), held.engine.config.limits.listing_reply_bytes)


def _permit(
    held: HeldRequest, body: bytes, decisions: tuple[Decision, ...], approval: Approval | None
) -> Permit:
    """Raises `PermitRefused`, and `KeyError` where an approval is needed and none is known."""
    engine, source = held.engine, held.source
    if all(decision.goes_on for decision in decisions):
        target = held.target if approval is None else approval.call.target
        return engine.permit(source, target, body, ForwardDecisions(decisions))
    if approval is None:
        raise KeyError
    return engine.permit_follow_up(source, approval, body, decisions)


def _redacted(config: Config, decisions: Sequence[Decision]) -> tuple[str, ...]:
    """The paths that the workflow hides, or any workflow if the rules name none any more."""
    named = {d.workflow for d in decisions if not d.goes_on}
    flows = [w for name, w in config.approval.items() if name in named or not named]
    return tuple(path for workflow in flows for path in workflow.redact_fields)
