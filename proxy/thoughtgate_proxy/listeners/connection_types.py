"""What a metered connection is in, and what it needs of its neighbours."""

import asyncio
from collections import deque
from enum import Enum
from typing import Any, Protocol

from aiohttp.streams import StreamReader


class ReadState(Enum):
    """What comes next from the client."""

    HEAD = "a head, or its rest"
    BODY = "the rest of a body"
    REPLY = "nothing: it waits for its reply"
    CLOSING = "nothing that anybody reads"


class Connections(Protocol):
    """All connections of a listener, each a `Metered` (whose module takes this one's types)."""

    def add(self, one: Any) -> None: ...
    def discard(self, one: Any) -> None: ...

    def make_room(self, newest: Any, most: int) -> None:
        """Close one if there are more than `most`."""

    def make_way(self, whole: Any, size: int) -> bool:
        """Close one whose body is slow and is charged more than `size`; whether there was one."""


class Queue(Protocol):
    """aiohttp's `RequestHandler`, as far as it is needed here."""

    _messages: "deque[tuple[Any, StreamReader]]"

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: BaseException | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
