"""What is written down of each message: one log line a decision, and its counts."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from traceback import extract_tb

from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.config.values import Kind
from thoughtgate_proxy.core.policy.decision import Decision, Outcome
from thoughtgate_proxy.core.policy.identity import Identity
from thoughtgate_proxy.core.protocol.message import Request, Target
from thoughtgate_proxy.telemetry.log import Level, Log, fields, prepared
from thoughtgate_proxy.telemetry.metrics import Metrics, known_method
from thoughtgate_proxy.telemetry.repeated_lines import RepeatedLines
from thoughtgate_proxy.telemetry.series import Count


@dataclass(frozen=True, slots=True)
class _Logged:
    """The part of a decision's log line that is the same each time, and where it is counted."""

    decision: Decision
    line: bytes
    counted: Count


class Record:
    """The log and the metrics of one process, for one principal."""

    def __init__(self, log: Log, metrics: Metrics, identity: Identity) -> None:
        self.log, self.metrics = log, metrics
        self._principal = {
            "principal": identity.agent,
            "namespace": identity.namespace,
            "pod": identity.pod,
        }
        self.upstreams: dict[str, str] = {}
        """How each source's server last took a request: `answered`, or what kind of failure."""
        self._hinted: set[str] = set()
        self._refusals = RepeatedLines(log, "refused")
        # Its key is this process' alone: equal arguments show as equal, and none can be guessed.
        self._digest = hashlib.blake2b(key=os.urandom(32), digest_size=12)
        self._known = BoundedCache[tuple[str, str, Kind, str], _Logged](most=1024, longest=256)
        self._ungated = BoundedCache[tuple[str, str], bytes](most=256, longest=256)

    def decisions(
        self,
        request: Request,
        decided: Sequence[tuple[Target, Decision]],
        source: str,
        correlation: str,
        arguments: bytes,
        trace: str | None,
    ) -> bool:
        """Log and count a request's decisions, before anything is done about them.

        `arguments` are the bytes of the arguments as they stood in the request. Gives False if
        they could not be logged: then nothing may be done about them.
        """
        rest = {"correlation_id": correlation}
        if arguments:
            rest["arguments_digest"] = self.arguments_digest(arguments)
        if trace:
            rest["traceparent"] = trace
        tail, lines = fields(rest), []
        for target, decision in decided:
            known = self._logged(request.method, target, source, decision)
            known.counted.value += 1
            lines.append(b"%b,%b" % (known.line, tail))
        return self.log.write_all(lines)

    def ungated(self, method: str, source: str, correlation: str) -> bool:
        """Log a message that goes on because no gate asks about it; False if that failed."""
        key = method, source
        line = self._ungated.get(key)
        if line is None:
            facts = {"method": method, "source": source, **self._principal}
            line = prepared("forwarded", Level.INFO, facts)
            self._ungated.put(key, line, len(method))
        return self.log.write(line, b'"correlation_id":"%b"' % correlation.encode())

    def _logged(self, method: str, target: Target, source: str, decision: Decision) -> "_Logged":
        """What is the same each time that this is decided: most decisions stand for long."""
        key = method, source, target.kind, target.name
        known = self._known.get(key)
        if known is not None and known.decision is decision:
            return known
        facts = {
            **decision.facts(),
            "method": method,
            "source": source,
            "kind": target.kind.value,
            "name": target.name,
            **self._principal,
        }
        if decision.observed:
            facts["outcome"], facts["observed"] = Outcome.FORWARD.value, decision.outcome.value
        known = _Logged(
            decision,
            prepared("decision", Level.INFO, facts),
            self.metrics.decisions.labelled(decision.gate.value, decision.outcome.value),
        )
        self._known.put(key, known, len(target.name))
        return known

    def arguments_digest(self, arguments: bytes) -> str:
        """A digest that tells equal arguments from others, and nothing more."""
        digest = self._digest.copy()
        digest.update(arguments)
        return digest.hexdigest()

    def forwarded(self, method: str, source: str, target: str, correlation: str) -> None:
        """Log a request of HTTP that carries no message, and goes on without a decision."""
        facts = {"http_method": method, "source": source, "target": target}
        self.log.always(
            "forwarded", Level.INFO, **facts, correlation_id=correlation, **self._principal
        )

    def refused(
        self,
        correlation: str,
        status: int,
        reason: str,
        method: str | None = None,
        limit: str | None = None,
    ) -> None:
        """Log and count a request that was not understood, or that is over the limit `limit`."""
        facts = {
            "status": status,
            "reason": reason,
            "correlation_id": correlation,
            **self._principal,
        }
        if method is not None:
            facts["method"] = method[:100]
        if limit is not None:
            facts["limit"] = limit
        self._refusals.add((status, reason, method, limit), **facts)
        kind = f"http_{status}" if limit is None else f"limit_{limit}"
        self.metrics.errors.inc(kind, known_method(method or ""))

    def sum_up(self) -> None:
        """Log what was counted and not written yet; for the end of the process."""
        self._refusals.sum_up()

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
            error=type(error).__name__, place=place, correlation_id=correlation, **self._principal,
        )  # fmt: skip
        self.metrics.errors.inc("internal", "")

    def hint_path(self, source: str) -> None:
        """Say once for each source that its server knows nothing at the root."""
        if source not in self._hinted:
            self._hinted.add(source)
            hint = "the server answered 404 for `/`: set a path in the source's `url`"
            self.log.event(hint, Level.WARNING, source=source)
