"""What is written down of each message: one log line a decision, and its counts."""

import hashlib
import os
from traceback import extract_tb

from thoughtgate_proxy.core.decision import Decision, Outcome
from thoughtgate_proxy.core.identity import Identity
from thoughtgate_proxy.core.message import Request, Target
from thoughtgate_proxy.telemetry.log import Level, Log
from thoughtgate_proxy.telemetry.metrics import Metrics, known_method


class Record:
    """The log and the metrics of one process, for one principal."""

    def __init__(self, log: Log, metrics: Metrics, identity: Identity) -> None:
        self.log, self.metrics = log, metrics
        self._who = {
            "principal": identity.agent,
            "namespace": identity.namespace,
            "pod": identity.pod,
        }
        self.upstreams: dict[str, str] = {}
        """How each source's server last took a request: `answered`, or what kind of failure."""
        self._hinted: set[str] = set()
        # Of this process alone: equal arguments show as equal, and none can be guessed.
        self._key = os.urandom(32)

    def decision(
        self,
        request: Request,
        target: Target,
        source: str,
        decision: Decision,
        correlation: str,
        arguments: bytes,
        trace: str | None,
    ) -> None:
        """Log and count one decision, before anything is done about it.

        `arguments` are the bytes of the arguments as they stood in the request.
        """
        facts = {
            **decision.facts(),
            "method": request.method,
            "source": source,
            "kind": target.kind.value,
            "name": target.name,
            "correlation_id": correlation,
            **self._who,
        }
        if decision.observed:
            facts["outcome"], facts["observed"] = Outcome.FORWARD.value, decision.outcome.value
        if arguments:
            facts["arguments_digest"] = self.arguments_digest(arguments)
        if trace:
            facts["traceparent"] = trace
        self.log.always("decision", **facts)
        self.metrics.decisions.inc(decision.gate.value, decision.outcome.value)

    def arguments_digest(self, arguments: bytes) -> str:
        """A digest that tells equal arguments from others, and nothing more."""
        return hashlib.blake2b(arguments, key=self._key, digest_size=12).hexdigest()

    def refused(
        self,
        correlation: str,
        status: int,
        reason: str,
        method: str | None = None,
        limit: str | None = None,
    ) -> None:
        """Log and count a request that was not understood, or that is over the limit `limit`."""
        facts = {"status": status, "reason": reason, "correlation_id": correlation, **self._who}
        if method is not None:
            facts["method"] = method[:100]
        if limit is not None:
            facts["limit"] = limit
        self.log.always("refused", Level.WARNING, **facts)
        kind = f"http_{status}" if limit is None else f"limit_{limit}"
        self.metrics.errors.inc(kind, known_method(method or ""))

    def upstream_failed(self, source: str, method: str, reason: str, kind: str) -> None:
        """Log and count a server that gave no reply, or none that can be passed on."""
        self.upstreams[source] = kind
        facts = {"source": source, "method": method, "reason": reason, "kind": kind}
        self.log.event("upstream failed", Level.WARNING, **facts)
        self.metrics.errors.inc(kind, known_method(method) if method else "")

    def broken(self, correlation: str, error: BaseException) -> None:
        """Log and count a mistake of ours, with where it happened and no data of anybody's."""
        place = [
            f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in extract_tb(error.__traceback__)
        ]
        self.log.always(
            "internal error", Level.ERROR,
            error=type(error).__name__, place=place, correlation_id=correlation, **self._who,
        )  # fmt: skip
        self.metrics.errors.inc("internal", "")

    def hint_path(self, source: str) -> None:
        """Say once for each source that its server knows nothing at the root."""
        if source not in self._hinted:
            self._hinted.add(source)
            hint = "the server answered 404 for `/`: set a path in the source's `url`"
            self.log.event(hint, Level.WARNING, source=source)
