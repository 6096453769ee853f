"""What Prometheus reads on the admin port."""

from thoughtgate_proxy.core.protocol.methods import KNOWN
from thoughtgate_proxy.telemetry.series import Counter, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "__other__"
_MOST_NAMES = 200
_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
_CEDAR_SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)
_APPROVAL_SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0)


class Metrics:
    """The series of one process; labels hold only known methods and names that a server listed."""

    def __init__(self) -> None:
        self.requests = Counter(
            "thoughtgate_requests", "Messages from the agent", ["method", "tool_name", "status"]
        )
        self.decisions = Counter(
            "thoughtgate_decisions", "Decisions of the gates", ["gate", "outcome"]
        )
        self.errors = Counter("thoughtgate_errors", "What went wrong", ["error_type", "method"])
        self.cedar_evaluations = Counter(
            "thoughtgate_cedar_evaluations", "Answers of Cedar", ["decision"]
        )
        self.upstream_requests = Counter(
            "thoughtgate_upstream_requests",
            "Requests to the MCP servers",
            ["target", "status_code"],
        )
        self.request_seconds = Histogram(
            "thoughtgate_request_duration_seconds", "From a request to the end of its reply",
            _SECONDS,
        )  # fmt: skip
        self.cedar_seconds = Histogram(
            "thoughtgate_cedar_evaluation_duration_seconds", "Time in Cedar", _CEDAR_SECONDS
        )
        self.upstream_seconds = Histogram(
            "thoughtgate_upstream_duration_seconds", "From sending to the head of the reply",
            _SECONDS,
        )  # fmt: skip
        self.approval_requests = Counter(
            "thoughtgate_approval_requests", "Requests for approval, by each state that they reach",
            ["channel", "outcome"],
        )  # fmt: skip
        self.approval_seconds = Histogram(
            "thoughtgate_approval_wait_seconds", "From asking humans to their decision, or its end",
            _APPROVAL_SECONDS,
        )  # fmt: skip
        self.approvals_pending = 0
        """Requests for approval that nobody has decided yet."""
        self.connections = 0
        """Requests under way."""
        self.config = ""
        """The digest of the configuration in force."""
        self.refused_since: float | None = None
        """Since when, in Unix time, the configuration on disk is not the one in force."""
        self._names: set[str] = set()

    def learn(self, name: str) -> None:
        """Take note of a tool that a server lists, so that metrics may name it."""
        if len(self._names) < _MOST_NAMES:
            self._names.add(name)

    def request(self, method: str, name: str | None, status: str) -> None:
        """Count a message; `status` is what became of it, in a word."""
        known = "" if name is None else name if name in self._names else OTHER
        self.requests.inc(known_method(method), known, status)


def known_method(method: str) -> str:
    """`method` if a revision has it; an agent must not be able to make up labels."""
    return method if method in KNOWN or not method else OTHER
