"""The injector's metrics, for Prometheus."""

import datetime as dt

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# The budget of a review is milliseconds; the API server gives up after five seconds.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class ReviewMetrics:
    """The metrics, in a registry of their own so that a process can hold two of them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._reviews = Counter(
            "thoughtgate_injector_reviews",
            "Admission reviews, by the webhook's entry and by what became of the pod",
            ("entry", "outcome"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "thoughtgate_injector_review_seconds",
            "Time from a review's last byte to its answer",
            ("entry",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._expiry = Gauge(
            "thoughtgate_injector_certificate_expiry_timestamp_seconds",
            "When the certificate in use ends, in seconds since 1970",
            ("certificate",),
            registry=self._registry,
        )
        self._failures = Counter(
            "thoughtgate_injector_trust_failures",
            "Looks at the CA's Secret and the webhook's caBundle that did not put all in place",
            registry=self._registry,
        )

    def reviewed(self, entry: str, outcome: str, seconds: float) -> None:
        self._reviews.labels(entry, outcome).inc()
        self._seconds.labels(entry).observe(seconds)

    def expires(self, certificate: str, end: dt.datetime) -> None:
        self._expiry.labels(certificate).set(end.timestamp())

    def trust_failed(self) -> None:
        self._failures.inc()

    def text(self) -> bytes:
        """Give all metrics in Prometheus's text format, version 0.0.4."""
        return generate_latest(self._registry)
