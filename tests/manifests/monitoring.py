"""The alert rules in the operator's form; `python -m tests.manifests.monitoring` writes it anew."""

from pathlib import Path

MONITORING = Path(__file__).parents[2] / "manifests" / "monitoring"
RULE = MONITORING.parent / "components" / "prometheus-rule" / "prometheus-rule.yaml"
_HEAD = """\
# Written from manifests/monitoring/rules.yaml by `make golden`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: thoughtgate
  namespace: thoughtgate-system
  labels:
    app.kubernetes.io/name: thoughtgate-injector
    app.kubernetes.io/part-of: thoughtgate
spec:
"""


def prometheus_rule() -> str:
    """The same groups in the operator's form."""
    text = (MONITORING / "rules.yaml").read_text()
    groups = text[text.index("groups:") :]
    return _HEAD + "".join(f"  {line}\n" for line in groups.splitlines())


if __name__ == "__main__":
    RULE.write_text(prometheus_rule())
