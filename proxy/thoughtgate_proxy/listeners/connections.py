"""The open connections of a listener, and which of them goes where there is not enough for all."""

from collections.abc import Iterator

from thoughtgate_proxy.listeners.connection_types import ReadState
from thoughtgate_proxy.listeners.metered import Metered


class OpenConnections:
    """Connections in the order in which they were opened."""

    def __init__(self) -> None:
        self._open: dict[Metered, None] = {}

    def __iter__(self) -> Iterator[Metered]:
        return iter(list(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def add(self, one: Metered) -> None:
        """It is open."""
        self._open[one] = None

    def discard(self, one: Metered) -> None:
        """It is not open any more. Twice does no harm."""
        self._open.pop(one, None)

    def make_room(self, newest: Metered, most: int) -> None:
        """Close one if there are more than `most`: that without a whole head, or the idlest.

        If there is none, one whose body is slow; if they all wait for replies, the newest. Those
        that end anyway are counted apart.
        """
        if len(self._open) <= most:
            return
        ends = [one for one in self._open if one.read_state is ReadState.CLOSING]
        if len(self._open) - len(ends) > most:
            states = (ReadState.HEAD, ReadState.BODY)
            found = [one for one in self._open if one.read_state in states]

            def rank(one: Metered) -> tuple[bool, int, float]:
                return one is newest, states.index(one.read_state), one.deadline

            goes = min(found, key=rank)
            goes.evict(newest=goes is newest)
        if len(ends) > most:
            ends[0].abort()

    def make_way(self, whole: Metered, size: int) -> bool:
        """Close the largest whose body is slow, if it is charged more than `size`."""
        slow = [one for one in self._open if one.read_state is ReadState.BODY and one is not whole]
        largest = max(slow, key=lambda one: one.share.charged, default=None)
        if largest is None or largest.share.charged <= size:
            return False
        largest.give_way()
        return True
