"""Cedar with a stopwatch: the pure core has no clock."""

import time
from collections.abc import Mapping
from typing import Any

from thoughtgate_proxy.core.config.values import Kind
from thoughtgate_proxy.core.policy.cedar import Judgement, PolicySet
from thoughtgate_proxy.telemetry.metrics import Metrics


class TimedPolicies:
    """A policy set whose evaluations are counted and timed."""

    def __init__(self, policies: PolicySet, metrics: Metrics) -> None:
        self._policies, self._metrics = policies, metrics

    def judge(
        self, kind: Kind, source: str, method: str, name: str, arguments: Mapping[str, Any]
    ) -> Judgement:
        """As `PolicySet.judge`."""
        begun = time.perf_counter()
        judgement = self._policies.judge(kind, source, method, name, arguments)
        self._metrics.cedar_seconds.observe(time.perf_counter() - begun)
        self._metrics.cedar_evaluations.inc(judgement.answer.value)
        return judgement
