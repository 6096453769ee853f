"""Our CA and its leaves."""

import datetime as dt
import ssl

import pytest

from thoughtgate_injector import certificates
from thoughtgate_injector.certificates import UnusableAuthorityError

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def test_an_authority_survives_its_secret() -> None:
    authority = certificates.new_authority(NOW)
    assert certificates.authority_from(authority.data(), NOW).pem() == authority.pem()


def test_a_secret_that_is_no_authority_is_refused_in_words() -> None:
    one, other = certificates.new_authority(NOW), certificates.new_authority(NOW)
    leaf = certificates.new_leaf(one, ["x"], NOW)
    certificate, _, key = leaf.pem.partition(b"-----BEGIN PRIVATE")
    cases = {
        "the key `ca.crt` is missing": {},
        "cannot be read": {"ca.crt": b"x", "ca.key": b"y"},
        "not the certificate's": one.data() | {"ca.key": other.data()["ca.key"]},
        "it cannot": {"ca.crt": certificate, "ca.key": b"-----BEGIN PRIVATE" + key},
    }
    for words, data in cases.items():
        with pytest.raises(UnusableAuthorityError, match=words):
            certificates.authority_from(data, NOW)
    with pytest.raises(UnusableAuthorityError, match="valid until 2035-12-30 only"):
        certificates.authority_from(one.data(), NOW + dt.timedelta(days=3650))


def test_a_leaf_is_due_after_two_thirds_of_its_life_and_ends_with_its_authority() -> None:
    authority = certificates.new_authority(NOW)
    leaf = certificates.new_leaf(authority, ["x"], NOW)
    assert leaf.not_after == NOW + dt.timedelta(days=7)
    assert not leaf.due(NOW + dt.timedelta(days=4))
    assert leaf.due(NOW + dt.timedelta(days=5))
    late = certificates.new_leaf(authority, ["x"], NOW + dt.timedelta(days=3648))
    assert late.not_after == authority.certificate.not_valid_after_utc


def test_a_client_that_trusts_the_authority_trusts_the_leaf_by_its_names_only() -> None:
    now = dt.datetime.now(dt.UTC)
    authority = certificates.new_authority(now)
    server = certificates.server_context()
    certificates.load(server, certificates.new_leaf(authority, ["right.svc"], now))
    client = ssl.create_default_context(cadata=authority.pem().decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    handshake(client, server, "right.svc")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, server, "wrong.svc")


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(back, there, server_hostname=name)
    other = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
