"""Staying awake for what mostly comes at once."""

import asyncio

# Some fifty microseconds. To be woken takes a process as long, and then it is slow for a while.
TURNS = 30
# Where so many are under way the loop hardly sleeps. A client's listening stream is one of them.
FEW = 2
_MOST_MISSES = 10


class Attention:
    """Keeps the loop awake for some turns, as long as what is expected comes within them.

    What does not come then is waited for asleep, and each time that it did not the next 1, 3, 7 and
    at most 1,023 times as well: who waits for a slow server, or a thinking agent, pays nothing.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = self._misses = self._asleep = 0
        self._turning = False

    @property
    def awake(self) -> bool:
        """Whether it is looked out for just now."""
        return self._left > 0

    def expect(self) -> None:
        """It may come any moment."""
        if self._asleep:
            self._asleep -= 1
            return
        self._left = TURNS
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def came(self) -> None:
        """It is there."""
        if self._left:
            self._left = self._misses = 0

    def _turn(self) -> None:
        self._turning = self._left > 0
        if not self._turning:
            return
        self._left -= 1
        if not self._left:
            self._misses = min(self._misses + 1, _MOST_MISSES)
            self._asleep = 2**self._misses - 1
        self._loop.call_soon(self._turn)
