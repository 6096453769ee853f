"""Whom a source's server must be certified by, and what of TLS is spoken with it."""

import ssl
from collections.abc import Mapping
from pathlib import Path


class TrustMissing(Exception):
    """A file of certificates cannot be used; the message names the file, and says why."""


def context(ca_file: Path | None, environ: Mapping[str, str]) -> ssl.SSLContext:
    """TLS as a client: with `ca_file` that authority alone, else the system's.

    `SSL_CERT_FILE` adds to the system's. Raises `TrustMissing`.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # names and certificates are checked by default
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    # A server that could choose would choose HTTP/2, which is not spoken here.
    tls.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        _load(tls, ca_file)
        return tls
    tls.load_default_certs()
    if file := environ.get("SSL_CERT_FILE"):
        # OpenSSL would read it too, but would not mind if it is missing.
        _load(tls, Path(file), "SSL_CERT_FILE: ")
    return tls


def _load(tls: ssl.SSLContext, file: Path, asked_by: str = "") -> None:
    try:
        tls.load_verify_locations(file)
    except ssl.SSLError as error:
        reason = "it holds no certificates in PEM"
        raise TrustMissing(f"{asked_by}`{file}`: {reason}") from error
    except OSError as error:
        raise TrustMissing(f"{asked_by}`{file}`: {error.strerror or error}") from error


def reason(error: OSError) -> str:
    """What went wrong with a connection, for the log."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        text = (error.reason or str(error)).replace("_", " ").lower()
        return f"TLS failed: {text}"
    return str(error)
