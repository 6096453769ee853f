"""Counters and histograms of one thread; `exposition` writes them out for Prometheus.

Its own client library takes a lock and looks labels up anew for each value, which costs a request
more than its rules do; here everything happens in the event loop's thread.
"""

from bisect import bisect_left
from collections.abc import Sequence


class Count:
    """One number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Counter:
    """Counts by labels; the name is without `_total`, which Prometheus' format adds."""

    def __init__(self, name: str, help: str, labels: Sequence[str]) -> None:  # noqa: A002
        self.name, self.help, self.labels = name, help, labels
        self.counts: dict[tuple[str, ...], Count] = {}

    def labelled(self, *labels: str) -> Count:
        """The count under a value for each label, for whoever counts the same again and again."""
        count = self.counts.get(labels)
        if count is None:
            count = self.counts[labels] = Count()
        return count

    def inc(self, *labels: str) -> None:
        """Count one, under a value for each label."""
        self.labelled(*labels).value += 1


class Histogram:
    """Sorts seconds into buckets, each with its upper bound."""

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:  # noqa: A002
        self.name, self.help, self.bounds = name, help, bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds
