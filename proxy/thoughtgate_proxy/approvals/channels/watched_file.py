"""A file of the mounted Secret, read again once it has changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from thoughtgate_proxy.runtime.file_stamp import FileStamp

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """What a file says now. It is looked at whenever somebody asks."""

    def __init__(
        self, path: Path, read: Callable[[Path], T], changed: Callable[[T], None] = lambda _: None
    ) -> None:
        """`read` is given the path, whatever is there; `changed` each value but the first."""
        self.path, self._read, self._changed = path, read, changed
        self._known: tuple[FileStamp | None, T] | None = None

    def value(self) -> T:
        """The file's value as of now."""
        stamp, known = FileStamp.of(self.path), self._known
        if known is None or known[0] != stamp:
            self._known = stamp, self._read(self.path)
            if known is not None:
                self._changed(self._known[1])
            return self._known[1]
        return known[1]
