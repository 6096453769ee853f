"""Which servers are reached through the proxy that the environment names.

There is no standard; this is what curl and Go's programs have in common, for `https` alone.
"""

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

_ALLOWED = "allowed is `http://host:port`, or with credentials `http://user:password@host:port`"


class ProxyWrong(Exception):
    """`HTTPS_PROXY` cannot be used; the message holds no credentials."""


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    """A proxy that opens tunnels; `authorization` is a header's value, if it asks for one."""

    host: str
    port: int
    authorization: str | None


def named(environ: Mapping[str, str]) -> ForwardProxy | None:
    """The proxy for `https`. Raises `ProxyWrong`."""
    text = _setting(environ, "HTTPS_PROXY")
    if not text:
        return None
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        host, port = url.hostname, url.port or 80
    except ValueError:
        host, port = None, 0
    if not host or not host.isascii() or url.scheme != "http" or url.path not in ("", "/"):
        found = text.rpartition("@")[2][:100]
        raise ProxyWrong(f"HTTPS_PROXY: `{found}`, {_ALLOWED}")
    authorization = None
    if url.username is not None:
        pair = unquote_to_bytes(url.username) + b":" + unquote_to_bytes(url.password or "")
        authorization = f"Basic {base64.b64encode(pair).decode()}"
    return ForwardProxy(host, port, authorization)


def goes_direct(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Whether `NO_PROXY` excepts a server, or it is in this pod.

    `host` stands as in a URL, IPv6 without brackets, and is not looked up: a network in `NO_PROXY`
    excepts only servers that are named by their address.
    """
    host = host.lower().rstrip(".")
    address = _address(host)
    if host == "localhost" or host.endswith(".localhost") or (address and address.is_loopback):
        return True
    entries = _setting(environ, "NO_PROXY").lower().replace(",", " ").split()
    return any(_excepts(entry, host, port) for entry in entries)


def _excepts(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `NO_PROXY` means the server; one that makes no sense means none."""
    if entry == "*":
        return True
    address = _address(host)
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    else:
        return address is not None and address in network
    name, colon, number = entry.rpartition(":")
    if colon:
        if number != str(port):
            return False
        entry = name
    if address is not None:
        return _address(entry.strip("[]")) == address
    entry = entry.removeprefix("*").rstrip(".")
    if entry.startswith("."):
        return len(entry) > 1 and host.endswith(entry)
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _setting(environ: Mapping[str, str], name: str) -> str:
    """A variable in lower case, which wins everywhere else too, or in upper case."""
    return (environ.get(name.lower()) or environ.get(name) or "").strip()
