"""A minimal client of the cluster's API server and DNS, for the waits of the start."""

import http.client
import json
import os
import socket
import ssl
import struct
from typing import Any

from tests.cluster.run import NODE_IP, Run


def administrators_tls(run: Run) -> ssl.SSLContext:
    """Trusts the cluster, and is trusted by it as its administrator."""
    context = ssl.create_default_context(cafile=str(run.pki / "ca.crt"))
    context.load_cert_chain(run.pki / "admin.crt", run.pki / "admin.key")
    return context


class Api:
    """Asks the API server as its administrator."""

    def __init__(self, run: Run) -> None:
        self._tls = administrators_tls(run)

    def get(self, path: str, host: str = NODE_IP, port: int = 6443) -> bytes | None:
        """The body of a reply with status 200, or None for any other and where nobody answers."""
        connection = http.client.HTTPSConnection(host, port, timeout=30, context=self._tls)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            body = reply.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if reply.status == 200 else None

    def get_json(self, path: str) -> Any:
        """The same, decoded."""
        body = self.get(path)
        return None if body is None else json.loads(body)


def resolve(name: str, server: str) -> str | None:
    """The first IPv4 address that the DNS server gives for this name (RFC 1035, section 4)."""
    number = os.urandom(2)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = number + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(5)
        try:
            link.connect((server, 53))
            link.send(query)
            reply = link.recv(512)
        except OSError:
            return None
    has_answer = reply[:2] == number and reply[3] & 0x0F == 0 and reply[6:8] != b"\0\0"
    return socket.inet_ntoa(reply[-4:]) if has_answer else None
