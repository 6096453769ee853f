"""Bytes of a client in, whole requests or a refusal out."""

from collections.abc import Callable

import httptools
import msgspec

from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.config.values import Limits
from thoughtgate_proxy.core.protocol.http import HttpRefused, HttpRequest
from thoughtgate_proxy.http1.head import HEADERS_TOO_LARGE, MOST_HEADERS, Block, Blocks
from thoughtgate_proxy.http1.memory import Budget, NoRoom, Share, TooBig

MOST_LINE = 1 << 16
_VERSIONS = ("1.1", "1.0")
_NOT_HTTP = 400
_END = b"\r\n\r\n"


class Incoming(msgspec.Struct, frozen=True):
    """A whole request; `share` is what its body is charged, to be released after its reply.

    `lasts`: the client wants to use the connection again.
    """

    request: HttpRequest
    lasts: bool
    chunks: bool
    """Whether the client understands a chunked reply (HTTP/1.1)."""
    share: Share


class Known(msgspec.Struct, frozen=True):
    """What the parser found in a head that was met before, byte for byte."""

    method: str
    target: str
    block: Block


class RequestReader:
    """The requests of one connection, in their order.

    Nothing of what llhttp refuses is let through by a lenient flag. It need not read again the very
    bytes that it has read as a whole head, of a request that came alone and let the connection
    last: between two messages it has no memory, so it would find the same.
    """

    def __init__(
        self,
        blocks: Blocks,
        known: BoundedCache[bytes, Known],
        budget: Budget,
        limits: Callable[[], Limits],
    ) -> None:
        """`blocks` and `known` are shared with other connections; `limits` gives those in force."""
        self._blocks, self._known, self._budget, self._limits = blocks, known, budget, limits
        self._parser = httptools.HttpRequestParser(self)
        self.ready: list[Incoming] = []  # an empty deque takes 600 bytes, on each connection
        # Of the request that is being read.
        self._share: Share | None = None
        self._block: Block | None = None
        self._lines: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._begun = self._left = False
        self._begin()

    @property
    def in_head(self) -> bool:
        """Whether some of a request has come, and not yet its whole head."""
        return self._begun and self._block is None

    @property
    def in_body(self) -> bool:
        """Whether the head of a request has come, and not yet its whole body."""
        return self._begun and self._block is not None

    def wants_leave(self) -> bool:
        """Whether the client waits for leave to send the body; true once for each."""
        block = self._block
        wants = self._begun and block is not None and block.waits and not self._left
        self._left = self._left or wants
        return wants and not self._pieces

    def feed(self, data: bytes) -> None:
        """Take bytes; what they complete is `ready`. Raises `HttpRefused`.

        After that nothing more can be read of the connection. If the bytes are not HTTP, the
        requests that they completed are not `ready` either: perhaps they were not meant to end
        where we saw their ends.
        """
        end = 0
        if not self._begun:
            end = data.find(_END) + len(_END)
            known = self._known.get(data[:end])
            if known is not None and self._take(known, data, end):
                return
        self._parse(data)
        if end and len(self.ready) == 1 and not self._begun:
            self._remember(data, end)

    def _parse(self, data: bytes) -> None:
        came_before = len(self.ready)
        if self.in_head:
            self._unended += len(data)  # a new message sets it back
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._declined(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            refused = error.__context__
            if not isinstance(refused, HttpRefused):
                said = str(error).partition("\n")[0][:100]
                refused = HttpRefused(400, f"the request is not HTTP: {said}")
            while refused.status == _NOT_HTTP and len(self.ready) > came_before:
                self.ready.pop().share.release()
            raise refused from None
        # The parser keeps a line that does not end, and tells nobody.
        if self.in_head and self._unended > self._limits().header_block_bytes + MOST_LINE:
            raise _line_too_long()

    def _take(self, known: Known, data: bytes, end: int) -> bool:
        """Take a request whose head is known; False if its body is not all that follows it."""
        block, limits = known.block, self._limits()
        most = limits.request_body_bytes
        if len(data) - end != block.body_length or block.body_length > most:
            return False
        if block.size > limits.header_block_bytes:
            return False
        share, body = Share(self._budget), data[end:]
        self._charge(share, body)
        request = HttpRequest(known.method, known.target, block.headers, body)
        self.ready.append(Incoming(request, True, True, share))
        return True

    def _remember(self, data: bytes, end: int) -> None:
        """Keep the head of the only request in `data`, if there is nothing special about it."""
        block, only = self._block, self.ready[0]
        plain = block is not None and not (block.chunked or block.waits or block.offers)
        if block is None or not plain or not (only.lasts and only.chunks):
            return
        if len(data) - end == block.body_length:
            known = Known(only.request.method, only.request.target, block)
            self._known.put(data[:end], known, end)

    def release(self) -> None:
        """Give back what all bodies are charged that nobody will take."""
        while self.ready:
            self.ready.pop().share.release()
        if self._share is not None:
            self._share.release()
            self._share = None

    # httptools' side: what is raised here comes out of `feed`

    def on_message_begin(self) -> None:
        self._begin()
        self._begun = True

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > MOST_LINE:
            raise _line_too_long()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value) + 4
        if len(value) > MOST_LINE:
            raise _line_too_long()
        if self._block is not None:
            if self._size > self._limits().header_block_bytes:
                raise _too_large(self._limits().header_block_bytes)
            return  # a trailer, which must not pass for a header
        if len(self._lines) >= MOST_HEADERS:
            raise HttpRefused(
                HEADERS_TOO_LARGE,
                f"the request has more than {MOST_HEADERS} headers",
                limit="header_block_bytes",
            )
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        block, limits = self._blocks.of(self._lines), self._limits()
        if block.size > limits.header_block_bytes:
            raise _too_large(limits.header_block_bytes)
        self._version = self._parser.get_http_version()
        if self._version not in _VERSIONS:
            raise HttpRefused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        self._method = self._parser.get_method()
        if self._method == b"CONNECT":
            raise HttpRefused(400, "`CONNECT`: only HTTP/1.1 is spoken here")
        if block.refused is not None:
            raise block.refused.with_traceback(None)
        if self._version == "1.1":
            if not block.names_host:
                raise HttpRefused(400, "the request names no host")
        elif block.chunked:
            raise HttpRefused(400, "`Transfer-Encoding` is not of HTTP/1.0")
        if block.body_length > limits.request_body_bytes:
            raise _too_long(limits.request_body_bytes)
        self._block, self._most = block, limits.request_body_bytes
        self._share = Share(self._budget)

    def on_body(self, piece: bytes) -> None:
        assert self._share is not None  # noqa: S101  on_headers_complete came first
        self._length += len(piece)
        if self._length > self._most:
            raise _too_long(self._most)
        self._charge(self._share, piece)
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        block, share = self._block, self._share
        if block is None or share is None or self._parser.should_upgrade():
            return  # an offer of another protocol, which `feed` declines
        pieces = self._pieces
        request = HttpRequest(
            self._method.decode("latin-1"),
            self._target.decode("latin-1"),
            block.headers,
            pieces[0] if len(pieces) == 1 else b"".join(pieces),
        )
        chunks = self._version == "1.1"
        self.ready.append(Incoming(request, self._parser.should_keep_alive(), chunks, share))
        self._share = None
        self._begun = False

    def _charge(self, share: Share, piece: bytes) -> None:
        try:
            share.add(piece)
        except (TooBig, NoRoom) as error:
            share.release()
            if isinstance(error, TooBig):
                told = "the body needs more memory than there is for all"
                raise HttpRefused(413, told, limit="memory_bytes") from error
            told = "other bodies fill the memory: try again later"
            raise HttpRefused(503, told, limit="memory_bytes") from error

    def _begin(self) -> None:
        self._begun = self._left = False
        self._target, self._method, self._version = b"", b"", ""
        self._block, self._lines, self._pieces = None, [], []
        self._unended = self._size = self._length = self._most = 0

    def _declined(self, rest: bytes) -> None:
        """Read on as if nothing had been offered; llhttp takes an offered request to be whole.

        The same head without the offer goes to a new parser, and what follows it after it.
        """
        head = [self._method, b" ", self._target, b" HTTP/1.1\r\n"]
        for name, value in self._lines:
            if name.lower() != b"upgrade":
                head += (name, b": ", value, b"\r\n")
        if self._share is not None:
            self._share.release()
        self._parser = httptools.HttpRequestParser(self)
        self.feed(b"".join([*head, b"\r\n", rest]))


def _line_too_long() -> HttpRefused:
    told = f"a line of the request's head has more than {MOST_LINE} bytes"
    return HttpRefused(HEADERS_TOO_LARGE, told, limit="header_block_bytes")


def _too_large(most: int) -> HttpRefused:
    told = f"the headers have more than {most} bytes"
    return HttpRefused(HEADERS_TOO_LARGE, told, limit="header_block_bytes")


def _too_long(most: int) -> HttpRefused:
    return HttpRefused(413, f"the body has more than {most} bytes", limit="request_body_bytes")
