"""A reply that is not there yet."""

import asyncio
from collections.abc import Callable

from thoughtgate_proxy.core.protocol.http import HttpReply


class ReplyFuture(asyncio.Future[HttpReply]):
    """A future whose reply may be taken in the very moment that it comes.

    A turn of the loop, which a future's ordinary callbacks wait for, costs a request more than its
    rules do.
    """

    taken_by: "Callable[[ReplyFuture], None] | None" = None
    """Is called directly with what is done, unless it is cancelled; may be set until then."""

    def set_result(self, result: HttpReply) -> None:
        """The reply is there."""
        super().set_result(result)
        if self.taken_by is not None:
            self.taken_by(self)

    def set_exception(self, exception: type | BaseException) -> None:
        """There will be none."""
        super().set_exception(exception)
        if self.taken_by is not None:
            self.taken_by(self)
