"""Alert rules and dashboard: every metric, label and outcome that they name exists."""

import datetime as dt
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.manifests.monitoring import MONITORING, RULE, prometheus_rule
from thoughtgate_injector.core.pod_summary import SidecarState
from thoughtgate_injector.watchdog.metrics import WatchdogMetrics
from thoughtgate_injector.watchdog.pod_index import PodCounts
from thoughtgate_injector.webhook.metrics import ReviewMetrics
from thoughtgate_proxy.core.approval import State as ApprovalState
from thoughtgate_proxy.telemetry import exposition
from thoughtgate_proxy.telemetry import metrics as proxy
from thoughtgate_proxy.telemetry.series import Counter

# What whoever scrapes a pod adds (docs/operate.md, "Alerts"), and what histograms have.
SCRAPED = {"namespace", "pod", "le"}
NAME = re.compile(r"\bthoughtgate_[a-z_]+\b")


def expressions() -> Iterator[str]:
    rules = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    for group in rules["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def exposed() -> dict[str, set[str]]:
    """The labels of each series, as the three programs write them."""
    injector = ReviewMetrics()
    injector.reviewed("pod", "injected", 0.1)
    injector.expires("leaf", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    counts = PodCounts({("agents", SidecarState.MISSING): 1}, {("0.1.0", "image"): 1})
    watchdog = WatchdogMetrics(lambda: counts, lambda: 0)
    watchdog.listed("pods")
    watchdog.evicted("evicted")
    watchdog.webhook(in_place=True)
    sidecar = proxy.Metrics()
    for series in vars(sidecar).values():
        if isinstance(series, Counter):
            series.inc(*("x" for _ in series.labels))
    found: dict[str, set[str]] = defaultdict(set)
    for text in (injector.text(), watchdog.text(), exposition.text(sidecar)):
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                found[sample.name] |= sample.labels.keys()
    return found


EXPOSED = exposed()


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_metric_and_label_of_an_expression_exists(expression: str) -> None:
    names = NAME.findall(re.sub(r'"[^"]*"', '""', expression))
    assert names
    labels: set[str] = set(SCRAPED)
    for name in names:
        assert name in EXPOSED, name
        labels |= EXPOSED[name]
    asked = re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', expression)
    for group in re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", expression):
        asked += [label.strip() for label in group.split(",")]
    assert set(asked) <= labels


def test_every_label_of_a_text_comes_out_of_its_expression() -> None:
    rules = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        kept: set[str] = set()
        for by in re.findall(r"\bby\s*\(([^)]*)\)", rule["expr"]):
            kept |= {label.strip() for label in by.split(",")}
        text = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= kept, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_outcomes_and_states_are_those_of_the_code() -> None:
    text = " ".join(expressions())
    sources = " ".join(
        file.read_text() for file in (MONITORING.parents[1] / "injector").rglob("webhook/*.py")
    )
    for name, words in re.findall(r'(\w+)\{[^}]*outcome=~?"([^"]*)"', text):
        for word in words.split("|"):
            if "approval" in name:
                assert word in {state.value for state in ApprovalState}
            else:
                assert f'"{word}"' in sources
    for word in re.findall(r'state="([^"]*)"', text):
        assert word in {state.value for state in SidecarState}


def test_alerts_have_names_of_their_own_and_stand_in_the_page() -> None:
    rules = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    page = (MONITORING.parents[1] / "docs" / "operate.md").read_text()
    assert [name for name in names if f"`{name}`" not in page] == []


def test_the_operators_form_holds_the_same_rules() -> None:
    assert RULE.read_text() == prometheus_rule()
    rules: dict[str, Any] = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    assert yaml.safe_load(RULE.read_text())["spec"] == rules


def test_panels_do_not_lie_on_each_other() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers)
