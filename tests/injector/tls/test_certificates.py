"""Our CA, its leaves, and how one CA follows another."""

import contextlib
import datetime as dt
import ssl
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_injector.tls import certificates
from thoughtgate_injector.tls.certificates import Authorities, UnusableAuthorityError

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
MINUTE = dt.timedelta(minutes=1)
FIRST = Authorities(certificates.new_authority(NOW))
ROTATED = FIRST.rotated(NOW).data()


def test_authorities_survive_their_secret() -> None:
    retired = (certificates.new_authority(NOW).certificate, FIRST.newest.certificate)
    for one in (
        FIRST,
        FIRST.rotated(NOW + 250 * DAY),
        Authorities(certificates.new_authority(NOW), retired=retired),
    ):
        read = certificates.authorities_from(one.data())
        assert read.data() == one.data()
        assert read.bundle(NOW) == one.bundle(NOW)
        assert read.signer(NOW).pem() == one.signer(NOW).pem()


def test_a_secret_that_is_no_authority_is_refused_in_words() -> None:
    one, other = FIRST, Authorities(certificates.new_authority(NOW))
    leaf = certificates.new_leaf(one.newest, ["x"], NOW)
    certificate, _, key = leaf.pem.partition(b"-----BEGIN PRIVATE")
    cases: dict[str, dict[str, bytes]] = {
        "the key `ca.crt` is missing": {},
        "`ca.crt` cannot be read": {"ca.crt": b"x", "ca.key": b"y"},
        "`ca.key` is not the key of": one.data() | {"ca.key": other.data()["ca.key"]},
        "`ca.crt` cannot": {"ca.crt": certificate, "ca.key": b"-----BEGIN PRIVATE" + key},
        "the key `previous.crt` is missing": one.data() | {"previous.key": b""},
        "no bundle of certificates": one.data() | {"previous.crt": b"x"},
    }
    for words, data in cases.items():
        with pytest.raises(UnusableAuthorityError, match=words):
            certificates.authorities_from(data)


@settings(max_examples=200)
@given(st.data())
def test_whatever_the_secret_holds_is_read_or_refused_in_words(data: st.DataObject) -> None:
    whole = ROTATED
    mutilated: dict[str, bytes] = {}
    for key, value in whole.items():
        cut = data.draw(st.sampled_from(["whole", "cut", "noise", "other", "absent"]), label=key)
        if cut == "cut":
            mutilated[key] = value[: data.draw(st.integers(0, len(value)))]
        elif cut == "noise":
            mutilated[key] = data.draw(st.binary(max_size=64))
        elif cut == "other":
            mutilated[key] = whole[data.draw(st.sampled_from(sorted(whole)))]
        elif cut == "whole":
            mutilated[key] = value
    with contextlib.suppress(UnusableAuthorityError):
        read = certificates.authorities_from(mutilated)
        assert certificates.new_leaf(read.newest, ["x"], NOW).not_after > NOW


def test_an_authority_that_is_not_valid_signs_nothing_and_says_when_it_is() -> None:
    for now in (NOW - DAY, NOW + 365 * DAY):
        with pytest.raises(UnusableAuthorityError, match="valid from 2025-12-31 23:55 to 2027-01"):
            FIRST.signer(now)


def test_a_new_authority_is_due_after_two_thirds_of_the_olds_life() -> None:
    assert not FIRST.due(NOW + 243 * DAY)
    assert FIRST.due(NOW + 244 * DAY)


def test_a_new_authority_is_trusted_before_it_signs_and_the_old_until_no_leaf_of_it_is_left() -> (
    None
):
    """Walks through a rotation minute by minute, with replicas that renew as late as can be."""
    began = NOW + 250 * DAY
    both = FIRST.rotated(began)
    old, new = both.previous, both.newest
    assert old is not None
    in_use: list[tuple[dt.datetime, bytes]] = []
    now = began
    while now < began + certificates.OVERLAP + DAY:
        signer = both.signer(now)
        in_use.append((now + certificates.LEAF_LIFE, signer.pem()))
        in_use = [(end, pem) for end, pem in in_use if end > now]
        bundle = both.bundle(now)
        assert all(pem in bundle for pem in {pem for _, pem in in_use})
        now += 30 * MINUTE if now > began + 60 * MINUTE else MINUTE
    assert both.signer(began) is old
    assert both.signer(began + 9 * MINUTE) is old
    assert both.signer(began + 10 * MINUTE) is new
    assert both.bundle(began) == new.pem() + old.pem()
    assert both.bundle(now) == new.pem()


def test_api_servers_whose_clocks_differ_trust_what_replicas_serve() -> None:
    began = NOW + 250 * DAY
    both = FIRST.rotated(began)
    skews = (-certificates.SKEW, dt.timedelta(0), certificates.SKEW)
    for minutes in (*range(-5, 30), *range(10_000, 10_200)):
        now = began + minutes * MINUTE
        for one in skews:
            for other in skews:
                assert both.signer(now + one).pem() in both.bundle(now + other)


def test_a_rotation_that_is_asked_for_twice_keeps_the_one_that_signs() -> None:
    twice = FIRST.rotated(NOW + DAY).rotated(NOW + DAY + MINUTE)
    assert twice.previous is FIRST.newest
    assert twice.signer(NOW + DAY + 2 * MINUTE) is FIRST.newest


def test_an_authority_that_has_ended_is_replaced_and_the_new_one_signs_at_once() -> None:
    late = NOW + 400 * DAY
    assert FIRST.due(late)
    both = FIRST.rotated(late)
    assert both.signer(late) is both.newest


def test_a_leaf_is_due_after_two_thirds_of_its_life_and_ends_with_its_authority() -> None:
    authority = FIRST.newest
    leaf = certificates.new_leaf(authority, ["x"], NOW)
    assert leaf.not_after == NOW + 7 * DAY
    assert not leaf.due(NOW + 4 * DAY)
    assert leaf.due(NOW + 5 * DAY)
    late = certificates.new_leaf(authority, ["x"], NOW + 363 * DAY)
    assert late.not_after == authority.certificate.not_valid_after_utc


def test_a_client_that_trusts_the_authority_trusts_the_leaf_by_its_names_only() -> None:
    now = dt.datetime.now(dt.UTC)
    authority = certificates.new_authority(now)
    server = certificates.server_context()
    certificates.load(server, certificates.new_leaf(authority, ["right.svc"], now))
    client = trusting(authority.pem())
    handshake(client, server, "right.svc")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, server, "wrong.svc")


def test_a_client_that_trusts_a_bundle_trusts_a_leaf_of_each_authority_in_it() -> None:
    now = dt.datetime.now(dt.UTC)
    both = Authorities(certificates.new_authority(now - DAY)).rotated(now)
    client = trusting(both.bundle(now))
    server = certificates.server_context()
    assert both.previous
    for authority in (both.previous, both.newest):
        certificates.load(server, certificates.new_leaf(authority, ["right.svc"], now))
        handshake(client, server, "right.svc")


def trusting(bundle: bytes) -> ssl.SSLContext:
    client = ssl.create_default_context(cadata=bundle.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    return client


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one: Any = client.wrap_bio(back, there, server_hostname=name)
    other: Any = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
