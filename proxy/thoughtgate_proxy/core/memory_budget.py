"""One budget for every byte that a peer can make the process keep; docs/memory.md has the table."""

SMALL_BYTES = 1 << 16
"""What is charged no more than this may use the reserve, which others leave alone."""
_RESERVED = 8  # the reserve is one of so many parts
# Measured: an object of JSON takes about as much, with its key.
_VALUE_BYTES = 100


class TooBig(Exception):
    """What could never fit."""


class NoRoom(Exception):
    """What does not fit while others are under way."""


class Budget:
    """`total` bytes, `taken` of them charged just now."""

    def __init__(self, total: int) -> None:
        self.taken = 0
        self.high = 0
        """The most that was charged since `emptied` last held."""
        self.resize(total)

    def resize(self, total: int) -> None:
        """Let peers fill `total` bytes; what is charged stays charged."""
        self.total = total
        self.unreserved = total - total // _RESERVED
        """What those may fill together who are charged more than `SMALL_BYTES`."""

    def emptied(self, least: int) -> bool:
        """Whether at least `least` bytes were charged since this last held, and few are by now."""
        if self.high < least or self.taken > self.high // 4:
            return False
        self.high = self.taken
        return True


class Share:
    """What one peer is charged for one thing, or for several one after the other."""

    __slots__ = ("_budget", "charged")

    def __init__(self, budget: Budget) -> None:
        self._budget, self.charged = budget, 0

    def add(self, size: int) -> None:
        """Charge `size` bytes more, or none at all. Raises `TooBig`, `NoRoom`."""
        budget, charged = self._budget, self.charged + size
        most = budget.total if charged <= SMALL_BYTES else budget.unreserved
        taken = budget.taken + size
        if taken > most:
            raise TooBig if charged > most else NoRoom
        self.charged, budget.taken = charged, taken
        if taken > budget.high:  # quicker than `max`
            budget.high = taken

    def subtract(self, size: int) -> None:
        """Give back `size` bytes, or as many as are charged."""
        self.keep(max(0, self.charged - size))

    def keep(self, size: int) -> None:
        """Give back all but `size` bytes, or nothing if that is more than is charged."""
        if self.charged > size:
            self._budget.taken -= self.charged - size
            self.charged = size

    def release(self) -> None:
        """Give everything back. Twice does no harm."""
        self.keep(0)


def parsed_cost(body: bytes) -> int:
    """What JSON costs while it is read: its bytes, their text and values, and each value's own.

    1 MiB of `{},{},…` parses to 35 MB, so each `,`, `{` and `[` counts as a value.
    """
    values = body.count(b",") + body.count(b"{") + body.count(b"[")
    return 3 * len(body) + _VALUE_BYTES * values
