"""Bodies of replies: as pieces, or whole within a limit."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from thoughtgate_proxy.core.memory_budget import Share
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.http import ReplyCut

JSON: Final = (("content-type", headers.JSON),)
"""The headers of an answer of our own."""


class PartialBody(msgspec.Struct, frozen=True):
    """The beginning of a body that is too long, or that ended too early (`cut`)."""

    begun: bytes
    rest: AsyncIterator[bytes] | None = None
    cut: ReplyCut | None = None

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of it, as it comes. Raises `ReplyCut` where it was cut short."""
        yield self.begun
        if self.cut is not None:
            raise self.cut
        if self.rest is not None:
            async for piece in self.rest:
                yield piece


async def pieces(body: bytes | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body as it comes. Raises `ReplyCut`."""
    if isinstance(body, bytes):
        yield body
        return
    async for piece in body:
        yield piece


async def read(
    body: bytes | AsyncIterator[bytes], limit: int, share: Share | None = None
) -> bytes | PartialBody:
    """The whole body if it has at most `limit` bytes, else the beginning of it.

    It is charged to `share` while it comes. Raises `NoRoom`, `TooBig`.
    """
    if isinstance(body, bytes):
        return body if len(body) <= limit else PartialBody(body)
    begun = bytearray()
    try:
        async for piece in body:
            begun += piece
            if share is not None:
                share.add(len(piece))
            if len(begun) > limit:
                return PartialBody(bytes(begun), body)
    except ReplyCut as cut:
        return PartialBody(bytes(begun), cut=cut)
    return bytes(begun)
