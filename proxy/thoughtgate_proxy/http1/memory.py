"""The memory that all buffered bodies share: one hostile body must not kill the gate."""

import re
from collections.abc import Sequence
from pathlib import Path

# Where a container sees the limit of its own cgroup: version 2, then version 1.
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_STATUS = Path("/proc/self/status")
_WITHOUT_LIMIT = 64 << 20
# Version 1 says "no limit" with a number beyond any machine.
_NO_LIMIT = 1 << 60


class TooBig(Exception):
    """A body that could never fit."""


class NoRoom(Exception):
    """A body that does not fit while others are under way."""


class Budget:
    """`total` bytes, `taken` of them charged to the bodies under way."""

    def __init__(self, total: int) -> None:
        self.total, self.taken = total, 0


class Share:
    """What one body is charged: its bytes, their text and values, and each value's overhead.

    1 MiB of `{},{},…` parses to 35 MB, so each `,`, `{` and `[` counts as a value.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget, self._charged = budget, 0

    def add(self, piece: bytes) -> None:
        """Charge the next bytes of the body. Raises `TooBig`, `NoRoom`."""
        values = piece.count(b",") + piece.count(b"{") + piece.count(b"[")
        charge = 3 * len(piece) + 100 * values
        self._charged += charge
        self._budget.taken += charge
        if self._charged > self._budget.total:
            raise TooBig
        if self._budget.taken > self._budget.total:
            raise NoRoom

    def release(self) -> None:
        """Give everything back. Twice does no harm."""
        self._budget.taken -= self._charged
        self._charged = 0


def total(limits: Sequence[Path] = _LIMITS, status: Path = _STATUS) -> int:
    """Half of what the cgroup leaves beyond our own memory as it is now, in bytes.

    Only anonymous memory counts: the pages of programs and libraries, nearly half of what is
    resident, are given up by the kernel before anything is killed.
    """
    for file in limits:
        try:
            text = file.read_text("ascii").strip()
            own = re.search(r"^RssAnon:\s+(\d+) kB$", status.read_text("ascii"), re.MULTILINE)
        except (OSError, ValueError):
            continue
        if own and text.isdecimal() and int(text) < _NO_LIMIT:
            return max(0, int(text) - int(own[1]) * 1024) // 2
        return _WITHOUT_LIMIT
    return _WITHOUT_LIMIT
