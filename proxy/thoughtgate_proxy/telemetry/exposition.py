"""All series in Prometheus' text format.

Nothing imports this before the first scrape: the library takes a sixth of the CPU that the proxy
may use until it is ready, and several megabytes.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from thoughtgate_proxy.telemetry.metrics import Metrics
from thoughtgate_proxy.telemetry.series import Counter, Histogram


def text(metrics: Metrics) -> bytes:
    """What stands now."""
    registry = CollectorRegistry()
    registry.register(_Series(metrics))
    return generate_latest(registry)


class _Series(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for series in vars(self._metrics).values():
            if isinstance(series, Counter):
                yield _counter(series)
            elif isinstance(series, Histogram):
                yield _histogram(series)
        yield GaugeMetricFamily(
            "thoughtgate_connections_active", "Requests under way", self._metrics.connections
        )
        yield GaugeMetricFamily(
            "thoughtgate_approvals_pending",
            "Requests for approval that nobody has decided yet",
            self._metrics.approvals_pending,
        )
        info = GaugeMetricFamily(
            "thoughtgate_config_info", "The configuration in force", labels=["digest"]
        )
        info.add_metric([self._metrics.config], 1)
        yield info
        yield GaugeMetricFamily(
            "thoughtgate_config_last_reload_successful",
            "1 unless the newest file was refused",
            int(self._metrics.refused_since is None),
        )
        yield GaugeMetricFamily(
            "thoughtgate_config_refused_since_timestamp_seconds",
            "Since when the newest file is not in force, in Unix time; 0 if it is",
            self._metrics.refused_since or 0,
        )


def _counter(series: Counter) -> CounterMetricFamily:
    family = CounterMetricFamily(series.name, series.help, labels=series.labels)
    for labels, count in series.counts.items():
        family.add_metric(labels, count.value)
    return family


def _histogram(series: Histogram) -> HistogramMetricFamily:
    """Prometheus' buckets count all that is below their bound."""
    below, buckets = 0, []
    for bound, count in zip([*map(str, series.bounds), "+Inf"], series.counts, strict=True):
        below += count
        buckets.append((bound, below))
    family = HistogramMetricFamily(series.name, series.help)
    family.add_metric([], buckets, series.sum)
    return family
