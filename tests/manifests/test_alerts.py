"""Each alert fires on what it is for, and on nothing else: Prometheus itself evaluates them."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.manifests.monitoring import MONITORING
from tests.manifests.promtool import PromtoolMissingError, promtool

RULES = MONITORING / "rules.yaml"

# What all is well looks like, once a minute: a value and its growth each minute.
WELL = {
    'thoughtgate_injector_certificate_expiry_timestamp_seconds{certificate="leaf"}': "2000000000x0",
    'thoughtgate_injector_reviews_total{entry="pod",outcome="injected"}': "0+60",
    'thoughtgate_injector_reviews_total{entry="pod",outcome="failed"}': "0x0",
    'thoughtgate_injector_reviews_total{entry="pod",outcome="refused"}': "0+0.1",
    'thoughtgate_injector_reviews_total{entry="config",outcome="unchecked"}': "0x0",
    'thoughtgate_injector_review_seconds_bucket{entry="pod",le="0.1"}': "0+60",
    'thoughtgate_injector_review_seconds_bucket{entry="pod",le="5"}': "0+60",
    'thoughtgate_injector_review_seconds_bucket{entry="pod",le="+Inf"}': "0+60",
    "thoughtgate_injector_trust_failures_total": "0x0",
    "thoughtgate_watchdog_futile_workloads": "0x0",
    "thoughtgate_watchdog_webhook_in_place": "1x0",
    'thoughtgate_watchdog_pods{pod_namespace="agents",state="missing"}': "0x0",
    'thoughtgate_watchdog_pods{pod_namespace="agents",state="outdated"}': "0x0",
    'thoughtgate_config_last_reload_successful{namespace="agents",pod="a"}': "1x0",
    'thoughtgate_approvals_pending{namespace="agents",pod="a"}': "0x0",
    'thoughtgate_approval_requests_total{channel="page",outcome="expired"}': "0+0.01",
    'thoughtgate_approval_requests_total{channel="page",outcome="unknown"}': "0x0",
    'thoughtgate_errors_total{namespace="agents",error_type="http_400"}': "0+1",
}
# The alert -> what is otherwise (None: nobody says it), and by which minute it fires.
ILL: dict[str, tuple[dict[str, str | None], int]] = {
    "ThoughtGateInjectorDown": ({"injector_certificate_expiry": None}, 10),
    "ThoughtGateReviewsFail": ({'entry="pod",outcome="failed"': "0+1"}, 10),
    "ThoughtGateReviewsSlow": ({'le="0.1"': "0+50"}, 20),
    "ThoughtGatePodsRefused": ({'outcome="refused"': "0+2"}, 20),
    "ThoughtGateConfigurationsUnchecked": ({'outcome="unchecked"': "0+1"}, 20),
    "ThoughtGateCertificateEnds": ({"injector_certificate_expiry": "80000x0"}, 20),
    "ThoughtGateTrustFails": ({"trust_failures": "0+1"}, 40),
    "ThoughtGateWatchdogDown": ({"futile_workloads": None}, 20),
    "ThoughtGateGlassBroken": ({"webhook_in_place": "0x0"}, 10),
    "ThoughtGateSidecarMissing": ({'state="missing"': "2x0"}, 10),
    "ThoughtGateSidecarOutdated": ({'state="outdated"': "2x0"}, 170 * 60),
    "ThoughtGateEvictionsFutile": ({"futile_workloads": "1x0"}, 10),
    "ThoughtGateConfigurationRefused": ({"reload_successful": "0x0"}, 10),
    "ThoughtGateApprovalsWait": ({"approvals_pending": "1x0"}, 20),
    "ThoughtGateApprovalsExpire": ({'outcome="expired"': "0+1"}, 20),
    "ThoughtGateOutcomeUnknown": ({'outcome="unknown"': "0+1"}, 20),
    "ThoughtGateErrors": ({"errors_total": "0+12"}, 30),
}


# Evaluated each minute, a week takes many seconds of a processor.
HOURS = ["ThoughtGateSidecarOutdated"]


@pytest.fixture(scope="session")
def program() -> Path:
    try:
        return promtool()
    except PromtoolMissingError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no promtool, and CI=true demands it: {error}", pytrace=False)
        pytest.skip(f"no promtool: {error}")


def test_promtool_finds_no_mistake(program: Path) -> None:
    run(program, "check", "rules", "--lint-fatal", str(RULES))


def test_there_is_a_case_for_each_alert() -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    assert [rule["alert"] for group in groups for rule in group["rules"]] == list(ILL)


@pytest.mark.parametrize(
    ("interval", "alerts"), [("1m", [each for each in ILL if each not in HOURS]), ("10m", HOURS)]
)
def test_an_alert_fires_on_what_it_is_for_and_no_other(
    program: Path, tmp_path: Path, interval: str, alerts: list[str]
) -> None:
    file = tmp_path / "test.yaml"
    cases = [case(None, {}, 60), *(case(alert, *ILL[alert]) for alert in alerts)]
    made = {"rule_files": [str(RULES)], "evaluation_interval": interval, "tests": cases}
    file.write_text(yaml.safe_dump(made))
    run(program, "test", "rules", str(file))


def case(alert: str | None, otherwise: dict[str, str | None], minutes: int) -> dict[str, object]:
    """All is well but this, and `alert` is the only one that fires."""
    series = []
    for name, well in WELL.items():
        [value] = [ill for part, ill in otherwise.items() if part in name] or [well]
        if value is not None:
            values = f"{value.replace('x0', '+0')}x{minutes}"
            series.append({"series": name, "values": values})
    fires = 'count by (alertname) (ALERTS{alertstate="firing"})'
    expected = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else []
    expression = {"expr": fires, "eval_time": f"{minutes}m", "exp_samples": expected}
    return {
        "name": alert or "all is well",
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [expression],
    }


def run(program: Path, *words: str) -> None:
    done = subprocess.run(
        [str(program), *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
