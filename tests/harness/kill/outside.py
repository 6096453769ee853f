"""What outlives the process: the humans' channel, the MCP server, and the agent with its calls.

A server on a Unix socket, one JSON line a request. It writes down what it got whole, as a real one
would, whether or not whoever sent it lived to read the reply.
"""

import contextlib
import json
import socketserver
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Self


class Outside:
    """Listens for as long as the `with` lasts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: dict[str, str] = {}
        """The call of each approval that humans were asked about."""
        self.messages: Counter[str] = Counter()
        """How often humans were asked about each call."""
        self.sent: Counter[str] = Counter()
        """How often the MCP server got each call."""
        self.ended: dict[str, str] = {}
        """What the agent heard of each call, in the end."""
        self.voted: set[tuple[str, str]] = set()
        """Approvals and approvers whose vote was taken."""
        self._lock = threading.Lock()
        outside = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    for line in self.rfile:
                        if line.endswith(b"\n"):
                            reply = outside.answer(json.loads(line))
                            self.wfile.write(json.dumps(reply).encode() + b"\n")

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self._server = Server(str(path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: dict[str, Any]) -> Any:
        """Take one request, and give its reply."""
        with self._lock:
            match request["do"]:
                case "look":  # is there a message about it?
                    return request["approval"] in self.asked
                case "post":
                    self.asked[request["approval"]] = request["call"]
                    self.messages[request["call"]] += 1
                    return True
                case "call":
                    self.sent[request["call"]] += 1
                    return {"jsonrpc": "2.0", "id": 1, "result": {"did": request["call"]}}
                case "voted":
                    self.voted.add((request["approval"], request["approver"]))
                    return True
                case "ended":
                    self.ended[request["call"]] = request["state"]
                    return True
                case other:
                    raise AssertionError(other)
