"""How much of the memory peers may fill: what the container's cgroup leaves."""

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
# For what nobody can charge exactly: the allocator's holes, the kernel's share of the cgroup.
_MARGIN = 8  # one of so many parts of the limit
# What is loaded only when it is needed first: the metrics' library, SQLite's caches.
_LATER_BYTES = 5 << 20
LEAST_BYTES = 4 << 20


class TooLittleMemory(Exception):
    """The cgroup leaves less than `LEAST_BYTES`; the message says what to do."""


def budget_bytes(
    configured: int | None,
    charged: int = 0,
    limits: Sequence[Path] = _LIMITS,
    status: Path = _STATUS,
) -> int:
    """What peers may fill, in bytes: `configured`, but never more than the cgroup leaves.

    That is its limit less an eighth, less what is loaded later, and less our own anonymous memory
    as it is now, of which `charged` bytes are peers' already. The pages of
    programs and libraries, nearly half of what is resident, are not counted: the kernel gives them
    up before anything is killed. Raises `TooLittleMemory`.
    """
    left = _left(limits, status)
    if left is not None:
        left += charged
    if left is not None and left < LEAST_BYTES:
        raise TooLittleMemory(
            f"the container's memory limit leaves {max(0, left) // 1024} KiB for requests, and at "
            f"least {LEAST_BYTES // 1024} KiB are needed: raise the limit (50Mi is enough)"
        )
    if left is None:
        return configured or _WITHOUT_LIMIT
    return min(configured or left, left)


def _left(limits: Sequence[Path], status: Path) -> int | None:
    for file in limits:
        try:
            text = file.read_text("ascii").strip()
            own = re.search(r"^RssAnon:\s+(\d+) kB$", status.read_text("ascii"), re.MULTILINE)
        except (OSError, ValueError):
            continue
        if own and text.isdecimal() and int(text) < _NO_LIMIT:
            limit = int(text)
            return limit - limit // _MARGIN - _LATER_BYTES - int(own[1]) * 1024
        return None
    return None
