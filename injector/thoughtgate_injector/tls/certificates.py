"""Our own certificate authority and the short-lived leaf that the webhook serves.

Nothing here reads a clock or a cluster; all times are aware datetimes in UTC.
"""

import datetime as dt
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE: Final = dt.timedelta(days=365)
LEAF_LIFE: Final = dt.timedelta(days=7)
# The API servers' clocks differ a little.
SKEW: Final = dt.timedelta(minutes=5)
# A new CA is trusted for so long before its first leaf: with clocks that differ by SKEW there are
# still minutes in which each replica writes the caBundle and each API server reads it.
ANNOUNCED: Final = 2 * SKEW
# The previous CA stays trusted for this long: by then its last leaf has expired.
OVERLAP: Final = ANNOUNCED + LEAF_LIFE + 2 * SKEW

CERTIFICATE_KEY: Final = "ca.crt"
PRIVATE_KEY: Final = "ca.key"
PREVIOUS_CERTIFICATES_KEY: Final = "previous.crt"
PREVIOUS_PRIVATE_KEY: Final = "previous.key"
# An operator sets this key, to any value, to ask for a new CA now.
ROTATE_KEY: Final = "rotate"


class UnusableAuthorityError(ValueError):
    """The Secret does not hold a CA that can sign."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Authorities:
    """The content of the Secret: the newest CA, and what was in use before it.

    Who signs, what is trusted and when a new CA is due all follow from this and the time, so that
    replicas that read the same Secret do the same, without a leader.
    """

    newest: Authority
    previous: Authority | None = None
    """Signs while the newest is being announced."""
    retired: tuple[x509.Certificate, ...] = ()
    """Certificates without a key that some replica's leaf may still be of."""

    def signer(self, now: dt.datetime) -> Authority:
        """Give the CA of new leaves; raise UnusableAuthorityError where none is valid."""
        last = self._last_to_sign(now)
        for one in (last, self.newest):
            if _valid(one.certificate, now):
                return one
        certificate = self.newest.certificate
        raise UnusableAuthorityError(
            f"its certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M}, and it is {now:%Y-%m-%d %H:%M}"
        )

    def bundle(self, now: dt.datetime) -> bytes:
        """Give the caBundle of the webhook: every CA of which a leaf may be in use."""
        trusted = [self.newest.certificate]
        if now < _created(self.newest.certificate) + OVERLAP:
            trusted += [self.previous.certificate] if self.previous else []
            trusted += self.retired
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in trusted)

    def due(self, now: dt.datetime) -> bool:
        """Tell whether a new CA should be announced: two thirds of the newest's life are over."""
        certificate = self.newest.certificate
        return _due(certificate.not_valid_before_utc, certificate.not_valid_after_utc, now)

    def rotated(self, now: dt.datetime) -> "Authorities":
        """Give the same with a new CA, which signs after ANNOUNCED."""
        return Authorities(new_authority(now), self._last_to_sign(now))

    def _last_to_sign(self, now: dt.datetime) -> Authority:
        announcing = now < _created(self.newest.certificate) + ANNOUNCED
        return self.previous if self.previous and announcing else self.newest

    def data(self) -> dict[str, bytes]:
        """Give the content of the Secret."""
        data = {CERTIFICATE_KEY: self.newest.pem(), PRIVATE_KEY: _pem(self.newest.key)}
        if self.previous:
            data[PREVIOUS_CERTIFICATES_KEY] = self.previous.pem()
            data[PREVIOUS_PRIVATE_KEY] = _pem(self.previous.key)
        elif self.retired:
            data[PREVIOUS_CERTIFICATES_KEY] = b"".join(
                one.public_bytes(serialization.Encoding.PEM) for one in self.retired
            )
        return data


@dataclass(frozen=True, slots=True)
class Leaf:
    """One replica's certificate with its key, as one PEM file's content."""

    pem: bytes
    not_before: dt.datetime
    not_after: dt.datetime

    def due(self, now: dt.datetime) -> bool:
        """Tell whether two thirds of its life are over."""
        return _due(self.not_before, self.not_after, now)


def new_authority(now: dt.datetime) -> Authority:
    """Make a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The date is for people; a verifier tells CAs apart by their keys' identifiers.
    title = f"thoughtgate-injector CA {now:%Y-%m-%d}"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    certificate = (
        _builder(name, name, key.public_key(), now, now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def authorities_from(data: Mapping[str, bytes]) -> Authorities:
    """Read the Secret's content; raise UnusableAuthorityError, in words, for what is no CA.

    Whether it is valid at this time is not asked here.
    """
    newest = _authority(data, CERTIFICATE_KEY, PRIVATE_KEY)
    if PREVIOUS_PRIVATE_KEY in data:
        return Authorities(
            newest, _authority(data, PREVIOUS_CERTIFICATES_KEY, PREVIOUS_PRIVATE_KEY)
        )
    if PREVIOUS_CERTIFICATES_KEY in data:
        return Authorities(newest, retired=certificates_from(data[PREVIOUS_CERTIFICATES_KEY]))
    return Authorities(newest)


def certificates_from(bundle: bytes) -> tuple[x509.Certificate, ...]:
    """Read a bundle of PEM; raise UnusableAuthorityError for what is none."""
    try:
        return tuple(x509.load_pem_x509_certificates(bundle)) if bundle.strip() else ()
    except ValueError as error:
        raise UnusableAuthorityError(f"it is no bundle of certificates: {error}") from error


def _authority(data: Mapping[str, bytes], certificate_key: str, private_key: str) -> Authority:
    try:
        certificate = x509.load_pem_x509_certificate(data[certificate_key])
        key = serialization.load_pem_private_key(data[private_key], password=None)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        certificate.verify_directly_issued_by(certificate)
    except KeyError as error:
        raise UnusableAuthorityError(f"the key `{error.args[0]}` is missing") from error
    except (
        ValueError,
        TypeError,
        InvalidSignature,
        UnsupportedAlgorithm,
        x509.ExtensionNotFound,
    ) as error:
        raise UnusableAuthorityError(f"`{certificate_key}` cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UnusableAuthorityError(f"`{private_key}` is not a key of an elliptic curve")
    if key.public_key() != certificate.public_key():
        raise UnusableAuthorityError(f"`{private_key}` is not the key of `{certificate_key}`")
    if not constraints.value.ca:
        raise UnusableAuthorityError(f"`{certificate_key}` may not sign others")
    return Authority(certificate, key)


def new_leaf(authority: Authority, hosts: Sequence[str], now: dt.datetime) -> Leaf:
    """Issue a serving certificate for the DNS names `hosts`; it ends no later than the CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    until = min(now + LEAF_LIFE, authority.certificate.not_valid_after_utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "thoughtgate-injector")])
    issuer = authority.certificate.subject
    certificate = (
        _builder(name, issuer, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )
    return Leaf(
        certificate.public_bytes(serialization.Encoding.PEM) + _pem(key),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def server_context() -> ssl.SSLContext:
    """Make the context of the webhook; it serves nobody until `load` has been called."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def load(context: ssl.SSLContext, leaf: Leaf) -> None:
    """Load the leaf; open connections go on, new ones get it.

    `ssl` reads certificates from files only: one in a folder of our own, for this moment.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "leaf.pem")
        path.touch(mode=0o600)
        path.write_bytes(leaf.pem)
        context.load_cert_chain(path)


def _valid(certificate: x509.Certificate, now: dt.datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _created(certificate: x509.Certificate) -> dt.datetime:
    return certificate.not_valid_before_utc + SKEW


def _due(begin: dt.datetime, end: dt.datetime, now: dt.datetime) -> bool:
    return now >= begin + (end - begin) * 2 / 3


def _builder(
    name: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    until: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
