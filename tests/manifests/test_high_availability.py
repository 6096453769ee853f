"""The component `ha` says what the base leaves open, and speaks of the base's own pods."""

from pathlib import Path
from typing import Any

import yaml

from tests.manifests.test_manifests import MANIFESTS, one

HA = MANIFESTS / "components" / "ha"


def component(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HA / file).read_text())
    return found


def test_every_file_of_the_component_is_in_it() -> None:
    told = component("kustomization.yaml")
    listed = {*told["resources"], *(patch["path"] for patch in told["patches"])}
    assert listed == {path.name for path in Path(HA).iterdir()} - {"kustomization.yaml"}
    assert told["kind"] == "Component"


def test_one_replica_of_three_may_be_missing_at_a_time() -> None:
    patch, budget = component("deployment.yaml"), component("disruption-budget.yaml")
    deployment = one("Deployment")
    assert patch["metadata"]["name"] == deployment["metadata"]["name"]
    assert patch["spec"]["replicas"] == 3
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_replicas_are_spread_and_come_before_other_pods() -> None:
    spec = component("deployment.yaml")["spec"]["template"]["spec"]
    assert spec["priorityClassName"] == component("priority-class.yaml")["metadata"]["name"]
    assert component("priority-class.yaml")["value"] == 10**9
    selector = one("Deployment")["spec"]["selector"]
    assert [
        (each["topologyKey"], each["whenUnsatisfiable"], each["labelSelector"])
        for each in spec["topologySpreadConstraints"]
    ] == [
        ("kubernetes.io/hostname", "ScheduleAnyway", selector),
        ("topology.kubernetes.io/zone", "ScheduleAnyway", selector),
    ]
