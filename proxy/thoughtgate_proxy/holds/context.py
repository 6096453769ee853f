"""What all held requests have in common."""

from collections.abc import Callable
from dataclasses import dataclass

from thoughtgate_proxy.approvals.service import ApprovalService
from thoughtgate_proxy.core.approval import Approval
from thoughtgate_proxy.holds.in_flight import InFlight
from thoughtgate_proxy.holds.request import HeldRequest
from thoughtgate_proxy.holds.round_trips import RoundTrips
from thoughtgate_proxy.holds.server_call import ServerCall


@dataclass(frozen=True, slots=True)
class HoldContext:
    """The parts that each held request needs; `now` is Unix time in seconds."""

    approvals: ApprovalService
    in_flight: InFlight
    round_trips: RoundTrips
    now: Callable[[], float]

    def server_call(self, held: HeldRequest, approval: Approval) -> ServerCall:
        """What sends an approved call with the headers of `held`."""
        dispatch = held.dispatch(held.with_call_headers(approval.call.headers))
        most = held.engine.config.limits.listing_reply_bytes
        in_session = held.header("mcp-session-id") is not None
        return ServerCall(dispatch, most, self.in_flight.server_calls, in_session=in_session)
