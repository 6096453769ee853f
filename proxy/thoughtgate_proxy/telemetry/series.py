"""Counters and histograms of one thread, for prometheus_client to write out.

Its own take a lock and look labels up anew for each value, which costs a request more than its
rules do; here everything happens in the event loop's thread.
"""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily


class Counter:
    """Counts by labels; the name is without `_total`, which Prometheus' format adds."""

    def __init__(self, name: str, help: str, labels: Sequence[str]) -> None:  # noqa: A002
        self._name, self._help, self._labels = name, help, labels
        self._counts: dict[tuple[str, ...], int] = {}

    def inc(self, *labels: str) -> None:
        """Count one, under a value for each label."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def family(self) -> CounterMetricFamily:
        """What stands now."""
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        return family


class Histogram:
    """Sorts seconds into buckets, each with its upper bound."""

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:  # noqa: A002
        self._name, self._help, self._bounds = name, help, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def family(self) -> HistogramMetricFamily:
        """What stands now; Prometheus' buckets count all that is below their bound."""
        below, buckets = 0, []
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            below += count
            buckets.append((bound, below))
        family = HistogramMetricFamily(self._name, self._help)
        family.add_metric([], buckets, self._sum)
        return family
