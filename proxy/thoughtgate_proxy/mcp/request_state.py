"""The signed `requestState` of ThoughtGate, which the next leg of a round trip brings back.

It looks like `tg1.<payload>.<hmac>`. A client may read it and may not change it. What it says is
checked against the request that brings it (revision 2026-07-28, multi round-trip requests, server
requirements 4 and 5); that it is used once is for whoever holds the store.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Final

import msgspec

from thoughtgate_proxy.core.policy.call_digest import OUR_STATE

_LONGEST: Final = 1 << 20


class Forged(ValueError):
    """The state is not one of ours, or not for this request; the message says why in one line."""


class RequestState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a leg must bring back.

    `approval` is the id of the request for approval, `round` how often the client was sent round
    for it (from 1), `nonce` tells this state from all others, `expires` is Unix time in seconds.
    `answers` tells that the server itself asked, after the approval: then the leg carries its
    answers, and `server` is the server's own state, if it gave one.
    """

    approval: str
    principal: str
    digest: str
    expires: float
    round: int
    nonce: str
    answers: bool = False
    server: str | None = None


_DECODER: Final = msgspec.json.Decoder(RequestState)


def sealed(state: RequestState, sign: Callable[[bytes], bytes]) -> str:
    """The text of `state`; `sign` gives the MAC of some bytes."""
    payload = OUR_STATE + _text(msgspec.json.encode(state))
    return f"{payload}.{_text(sign(payload.encode()))}"


def opened(text: str, verify: Callable[[bytes, bytes], bool]) -> RequestState:
    """The state that we signed as `text`; `verify` checks a MAC of some bytes. Raises `Forged`."""
    payload, dot, mac = text.rpartition(".")
    if not payload.startswith(OUR_STATE) or not dot or len(text) > _LONGEST or not text.isascii():
        raise Forged("`requestState` is none that ThoughtGate gave")
    try:
        if not verify(payload.encode(), _bytes(mac)):
            raise Forged("`requestState` was changed, or is of another gate")
        return _DECODER.decode(_bytes(payload.removeprefix(OUR_STATE)))
    except (msgspec.DecodeError, binascii.Error) as error:
        # What is signed was written by us, so by another version of this program.
        raise Forged("`requestState` is of another version of ThoughtGate") from error


def check(state: RequestState, *, principal: str, digest: str, now: float) -> None:
    """That `state` belongs to the request that brings it, and is in time. Raises `Forged`."""
    if state.principal != principal:
        raise Forged("`requestState` was given to another principal")
    if state.digest != digest:
        raise Forged("`requestState` was given for another call, or to another caller")
    if now >= state.expires:
        raise Forged("`requestState` has expired")


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
