"""What was worked out lately, by the bytes or values that it was worked out from."""

from collections.abc import Hashable
from typing import Generic, TypeVar

_MOST = 256
LONGEST = 4096
"""Of what is remembered, in bytes."""

T = TypeVar("T")


class BoundedCache(Generic[T]):
    """A bounded memory: whoever makes up new keys must not fill it, and empties it at worst."""

    def __init__(self) -> None:
        self._known: dict[Hashable, T] = {}
        self.get = self._known.get
        """The value of a key; None if it is not remembered."""

    def put(self, key: Hashable, value: T) -> None:
        """Remember. A key longer than `LONGEST` is the caller's to leave out."""
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = value
