"""The state that a client carries round: signed, for one call of one caller, and for a while."""

import hashlib
import hmac

import msgspec
import pytest

from thoughtgate_proxy.mcp.request_state import Forged, RequestState, check, opened, sealed

STATE = RequestState(
    approval="tg_1", principal="team/app", digest="d", expires=1000.0, round=1, nonce="n",
    answers=True, server="the server's own",
)  # fmt: skip


def sign(payload: bytes) -> bytes:
    return hmac.digest(b"key", payload, hashlib.sha256)


def verify(payload: bytes, mac: bytes) -> bool:
    return hmac.compare_digest(sign(payload), mac)


def test_what_was_sealed_is_opened_as_it_was() -> None:
    text = sealed(STATE, sign)
    assert text.startswith("tg1.")
    assert opened(text, verify) == STATE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "none that"),
        ("tg1.", "none that"),
        ("tg2." + sealed(STATE, sign)[4:], "none that"),
        (sealed(STATE, sign).rpartition(".")[0], "none that"),
        (sealed(STATE, sign) + "é", "none that"),
        (sealed(STATE, lambda _: b"x" * 32), "another gate"),
        (sealed(msgspec.structs.replace(STATE, server="a" * (1 << 20)), sign), "none that"),
    ],
)
def test_what_we_did_not_give_is_refused(text: str, said: str) -> None:
    with pytest.raises(Forged, match=said):
        opened(text, verify)


def test_what_another_version_signed_is_refused_in_words() -> None:
    class Newer(RequestState, frozen=True, kw_only=True):
        more: int = 1

    newer = Newer(**msgspec.structs.asdict(STATE))
    with pytest.raises(Forged, match="another version"):
        opened(sealed(newer, sign), verify)


def test_a_state_counts_for_its_own_call_and_until_it_expires() -> None:
    check(STATE, principal="team/app", digest="d", now=999.9)
    for principal, digest, now, said in (
        ("team/other", "d", 0.0, "another principal"),
        ("team/app", "e", 0.0, "another call"),
        ("team/app", "d", 1000.0, "expired"),
    ):
        with pytest.raises(Forged, match=said):
            check(STATE, principal=principal, digest=digest, now=now)
