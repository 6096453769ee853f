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

# The CA outlives a cluster's usual life: changing it means a moment in which replicas disagree.
CA_LIFE: Final = dt.timedelta(days=3650)
LEAF_LIFE: Final = dt.timedelta(days=7)
# The nodes' clocks differ a little.
SKEW: Final = dt.timedelta(minutes=5)

CERTIFICATE_KEY: Final = "ca.crt"
PRIVATE_KEY: Final = "ca.key"


class UnusableAuthorityError(ValueError):
    """What the Secret holds is no CA that we can sign with."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The CA: signs the leaves of all replicas."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        """Give the certificate alone: the caBundle of the webhook."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def data(self) -> dict[str, bytes]:
        """Give the content of the Secret."""
        return {CERTIFICATE_KEY: self.pem(), PRIVATE_KEY: _pem(self.key)}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One replica's certificate with its key, as one PEM file's content."""

    pem: bytes
    not_before: dt.datetime
    not_after: dt.datetime

    def due(self, now: dt.datetime) -> bool:
        """Tell whether two thirds of its life are over."""
        return now >= self.not_before + (self.not_after - self.not_before) * 2 / 3


def new_authority(now: dt.datetime) -> Authority:
    """Make a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "thoughtgate-injector CA")])
    certificate = (
        _builder(name, name, key.public_key(), now, now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def authority_from(data: Mapping[str, bytes], now: dt.datetime) -> Authority:
    """Read the Secret's content; raise UnusableAuthorityError, in words, for what is no CA."""
    try:
        certificate = x509.load_pem_x509_certificate(data[CERTIFICATE_KEY])
        key = serialization.load_pem_private_key(data[PRIVATE_KEY], password=None)
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
        raise UnusableAuthorityError(f"it cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UnusableAuthorityError("its private key is not one of an elliptic curve")
    if key.public_key() != certificate.public_key():
        raise UnusableAuthorityError("its private key is not the certificate's")
    if not constraints.value.ca:
        raise UnusableAuthorityError("its certificate may not sign others")
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise UnusableAuthorityError(
            f"its certificate is valid until {certificate.not_valid_after_utc:%Y-%m-%d} only"
        )
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
    """Put the leaf in place; connections that stand go on, new ones get it.

    `ssl` reads certificates from files only: one in a folder of our own, for this moment.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "leaf.pem")
        path.touch(mode=0o600)
        path.write_bytes(leaf.pem)
        context.load_cert_chain(path)


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
