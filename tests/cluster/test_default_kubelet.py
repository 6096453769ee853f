"""What the tests' quick kubelet hides: with its defaults a ConfigMap takes its time."""

import time

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.images import ROOT
from tests.cluster.main_job import ask, pod
from tests.cluster.test_main_job import namespace as namespace  # noqa: PLC0414 - a fixture


@pytest.mark.long
def test_a_changed_configuration_comes_into_force_by_itself_within_two_minutes(
    cluster: Cluster, namespace: str, mcp_image: str
) -> None:
    text = (ROOT / "examples" / "config.yaml").read_text()
    with cluster.default_sync_period():
        cluster.apply(pod("patient", mcp_image, {"app": "patient", "team": "tests"}), namespace)
        cluster.wait_ready("patient", namespace)
        assert ask(cluster, "patient", namespace, ("admin_reset", {}))[0]["is_error"]
        began = time.monotonic()
        cluster.apply(text.replace("action: deny", "action: forward"), namespace)
        while ask(cluster, "patient", namespace, ("admin_reset", {}))[0]["is_error"]:
            assert time.monotonic() - began < 120
            time.sleep(1)  # the pace of asking
        print(f"in force after {time.monotonic() - began:.0f} s")
