"""The watchdog's metrics, for Prometheus; pods are counted at each scrape."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from thoughtgate_injector.watchdog.pod_index import PodCounts

_MOST_IMAGES = 50  # label values that pods' authors choose: the rest is counted together
_OTHER = "__other__"


class WatchdogMetrics(Collector):
    """The metrics, in a registry of their own so that a process can hold two of them."""

    def __init__(self, count: Callable[[], PodCounts], futile: Callable[[], int]) -> None:
        self._count = count
        self._futile = futile
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._lists = Counter(
            "thoughtgate_watchdog_lists",
            "Whole lists of objects that were read; one at the start, and one after each loss",
            ("resource",),
            registry=self._registry,
        )
        self._evictions = Counter(
            "thoughtgate_watchdog_evictions",
            "Evictions that were asked for, by what became of them",
            ("outcome",),
            registry=self._registry,
        )
        self._webhook = Gauge(
            "thoughtgate_watchdog_webhook_in_place",
            "1 while the mutating webhook is registered with its CA; 0: the glass is broken",
            registry=self._registry,
        )

    def listed(self, resource: str) -> None:
        self._lists.labels(resource).inc()

    def evicted(self, outcome: str) -> None:
        self._evictions.labels(outcome).inc()

    def webhook(self, *, in_place: bool) -> None:
        self._webhook.set(int(in_place))

    def text(self) -> bytes:
        """Give all metrics in Prometheus's text format, version 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Give the current counts of pods and sidecars."""
        count = self._count()
        pods = GaugeMetricFamily(
            "thoughtgate_watchdog_pods",
            "Opted-in pods that run, by how they stand",
            # Not `namespace`: that is the watchdog's own, from whoever scrapes it.
            labels=("pod_namespace", "state"),
        )
        for (namespace, state), number in sorted(
            count.states.items(), key=lambda item: (item[0][0], item[0][1].value)
        ):
            pods.add_metric((namespace, state.value), number)
        yield pods
        sidecars = GaugeMetricFamily(
            "thoughtgate_watchdog_sidecars",
            "Running sidecars by the version of the injector that added them and by image",
            labels=("version", "image"),
        )
        ordered = sorted(count.sidecars.items(), key=lambda item: (-item[1], item[0]))
        for (version, image), number in ordered[:_MOST_IMAGES]:
            sidecars.add_metric((version, image), number)
        if rest := sum(number for _, number in ordered[_MOST_IMAGES:]):
            sidecars.add_metric((_OTHER, _OTHER), rest)
        yield sidecars
        yield GaugeMetricFamily(
            "thoughtgate_watchdog_futile_workloads",
            "Workloads that are not evicted any more, since their new pods were no better",
            value=self._futile(),
        )
