"""Server-sent events, event by event, without holding more of a stream than one event.

Source: the WHATWG HTML standard, section 9.2. An event ends at an empty line; lines end with LF,
CR LF or CR; a byte order mark may stand before the first.
"""

import re
from collections.abc import Iterator

_BOUNDARY = re.compile(rb"(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r(?!\n)|\n)")
_BOUNDARY_BYTES = 4
_LONG_RUN = 64
_LINE = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """An event is longer than the splitter was told to hold."""


class EventPart(bytes):
    """A piece of an event that is too long to be held."""


class Splitter:
    """Cuts a stream into whole events, each with its final empty line."""

    def __init__(self, limit: int, *, parts: bool = False) -> None:
        """`limit` is the most bytes that one event may have.

        With `parts`, a longer one comes in pieces; without, it is refused.
        """
        self._buffer = bytearray()
        self._limit, self._parts = limit, parts
        self._searched = 0
        self.inside = False
        """Whether the pieces of a long event have begun, and not ended."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes; give the events that they complete. Raises `EventTooLong`."""
        self._buffer += data
        if not self.inside and (blank := self._blank()):
            yield self._take(blank)
        while (end := self._end()) is not None:
            if end > self._limit and not self._parts:
                raise EventTooLong(f"an event is longer than {self._limit} bytes")
            event = self._take(end)
            whole, self.inside = not self.inside, False
            yield event if whole else EventPart(event)
        if len(self._buffer) <= self._limit and not self.inside:
            return
        if not self._parts:
            raise EventTooLong(f"an event is longer than {self._limit} bytes")
        # The last bytes may be the beginning of its end.
        if (sure := len(self._buffer) - _BOUNDARY_BYTES + 1) > 0:
            part = EventPart(self._take(sure))
            self.inside = True
            yield part

    def _blank(self) -> int:
        """The length of a long run of empty lines: one by one they take longer than to send."""
        if not self._buffer.startswith((b"\n", b"\r")):
            return 0
        blank = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
        return blank if blank >= _LONG_RUN else 0

    @property
    def held(self) -> int:
        """Bytes that came after the last whole event."""
        return len(self._buffer)

    @property
    def rest(self) -> bytes:
        """What came after the last whole event."""
        return bytes(self._buffer)

    def _take(self, end: int) -> bytes:
        taken = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._searched = 0
        return taken

    def _end(self) -> int | None:
        if self._buffer.find(b"\r", self._searched) < 0:  # as servers write it, and far cheaper
            end = self._buffer.find(b"\n\n", self._searched)
            if end >= 0:
                return end + 2
            self._searched = max(0, len(self._buffer) - _BOUNDARY_BYTES + 1)
            return None
        for match in _BOUNDARY.finditer(self._buffer, self._searched):
            # A CR at the very end may be the first half of a CR LF that is still on its way.
            if match.end() == len(self._buffer) and self._buffer.endswith(b"\r"):
                break
            return match.end()
        self._searched = max(0, len(self._buffer) - _BOUNDARY_BYTES + 1)
        return None


def data_of(event: bytes) -> bytes | None:
    """The data of `event`, its lines joined by LF; None if it has none (a comment, an id alone)."""
    lines = []
    for line in _lines(event):
        field, colon, value = line.partition(b":")
        if field == b"data":
            lines.append(value.removeprefix(b" ") if colon else b"")
    return b"\n".join(lines) if lines else None


def field(event: bytes, name: bytes) -> bytes | None:
    """The value of the first field called `name` in `event`."""
    for line in _lines(event):
        key, _, value = line.partition(b":")
        if key == name:
            return value.removeprefix(b" ")
    return None


def _lines(event: bytes) -> list[bytes]:
    text = event.removeprefix(_BOM)
    return _LINE.split(text) if b"\r" in text else text.split(b"\n")


def with_data(event: bytes, data: bytes) -> bytes:
    """`event` with other data; its other fields (id, event, retry) stay in their order."""
    kept = []
    written = False
    for line in _lines(event):
        if line.partition(b":")[0] != b"data":
            kept.append(line)
        elif not written:
            written = True
            kept.extend(b"data: " + part for part in data.split(b"\n"))
    while kept and not kept[-1]:
        kept.pop()
    return b"\n".join(kept) + b"\n\n"


def event(data: bytes) -> bytes:
    """A message event with `data`."""
    if b"\n" in data or b"\r" in data:  # as JSON that is laid out for people
        data = b"\ndata: ".join(_LINE.split(data))
    return b"event: message\ndata: " + data + b"\n\n"


def comment(text: bytes) -> bytes:
    """What is no event, and shows only that the stream is alive; `text` holds no line end."""
    return b": " + text + b"\n\n"
