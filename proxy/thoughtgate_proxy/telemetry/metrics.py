"""What Prometheus reads on the admin port."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from thoughtgate_proxy.core.methods import KNOWN

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "__other__"
_MOST_NAMES = 200
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_CEDAR_SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)


class Metrics:
    """The series of one process; labels hold only known methods and names that a server listed."""

    def __init__(self) -> None:
        # A second series for each, that nobody asked for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "thoughtgate_requests", "Messages from the agent",
            ["method", "tool_name", "status"], registry=registry,
        )  # fmt: skip
        self.decisions = Counter(
            "thoughtgate_decisions", "Decisions of the gates", ["gate", "outcome"],
            registry=registry,
        )  # fmt: skip
        self.errors = Counter(
            "thoughtgate_errors", "What went wrong", ["error_type", "method"], registry=registry
        )
        self.cedar_evaluations = Counter(
            "thoughtgate_cedar_evaluations", "Answers of Cedar", ["decision"], registry=registry
        )
        self.upstream_requests = Counter(
            "thoughtgate_upstream_requests", "Requests to the MCP servers",
            ["target", "status_code"], registry=registry,
        )  # fmt: skip
        self.request_seconds = Histogram(
            "thoughtgate_request_duration_seconds", "From a request to the end of its reply",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.cedar_seconds = Histogram(
            "thoughtgate_cedar_evaluation_duration_seconds", "Time in Cedar",
            buckets=_CEDAR_SECONDS, registry=registry,
        )  # fmt: skip
        self.upstream_seconds = Histogram(
            "thoughtgate_upstream_duration_seconds", "From sending to the head of the reply",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.connections = Gauge(
            "thoughtgate_connections_active", "Requests under way", registry=registry
        )
        self.config_info = Gauge(
            "thoughtgate_config_info", "The configuration in force", ["digest"], registry=registry
        )
        self.reload_ok = Gauge(
            "thoughtgate_config_last_reload_successful", "1 unless the newest file was refused",
            registry=registry,
        )  # fmt: skip
        self._names: set[str] = set()

    def learn(self, name: str) -> None:
        """Take note of a tool that a server lists, so that metrics may name it."""
        if len(self._names) < _MOST_NAMES:
            self._names.add(name)

    def request(self, method: str, name: str | None, status: str) -> None:
        """Count a message; `status` is an outcome or an HTTP status."""
        self.requests.labels(
            known_method(method), "" if name is None else self._known(name), status
        ).inc()

    def text(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self._registry)

    def _known(self, name: str) -> str:
        return name if name in self._names else OTHER


def known_method(method: str) -> str:
    """`method` if a revision has it; an agent must not be able to make up labels."""
    return method if method in KNOWN or not method else OTHER
