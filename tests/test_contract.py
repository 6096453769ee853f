"""What both programs must agree on, though neither imports the other."""

from pathlib import Path
from typing import Any

from thoughtgate_injector.core import names
from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.patch import apply
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry
from thoughtgate_proxy.approvals.channels.channel import ChannelSettings
from thoughtgate_proxy.approvals.channels.page import tokens
from thoughtgate_proxy.cli import main
from thoughtgate_proxy.listeners import admin
from thoughtgate_proxy.runtime.settings import read_settings
from thoughtgate_proxy.telemetry.log import Level


def test_the_proxy_listens_where_the_injected_pod_expects_it() -> None:
    settings = read_settings({})
    assert settings.outbound_port == names.PROXY_PORT
    assert settings.inbound_port == names.INBOUND_PORT
    assert settings.admin_port == names.ADMIN_PORT
    assert f"http://localhost:{settings.outbound_port}" == names.AGENT_URL
    assert settings.loopback_only


def test_the_proxy_reads_what_the_injector_mounts() -> None:
    settings = read_settings({})
    assert settings.labels == Path(names.PODINFO_DIR) / names.LABELS_ITEM
    assert settings.state_dir == Path(names.STATE_DIR)
    assert tokens.place(ChannelSettings.of({})) == Path(names.SECRETS_DIR) / "approver-tokens"
    assert ChannelSettings.of({}).secrets == Path(names.SECRETS_DIR)
    assert main.DEFAULT_CONFIG == names.CONFIG_FILE
    assert Path(names.CONFIG_FILE).parent == Path(names.CONFIG_DIR)


def test_the_proxy_takes_the_environment_that_the_injector_writes() -> None:
    settings = read_settings(
        {
            names.ENV_GRACE: "17",
            names.ENV_LOG_LEVEL: "warning",
            names.ENV_POD_NAME: "my-pod",
            names.ENV_POD_NAMESPACE: "my-namespace",
        }
    )
    assert settings.grace == 17
    assert settings.log_level is Level.WARNING
    assert (settings.pod, settings.namespace) == ("my-pod", "my-namespace")
    assert settings.grace != read_settings({}).grace == names.DEFAULT_GRACE_SECONDS


def test_no_service_link_reaches_a_port_of_an_injected_sidecar() -> None:
    pod: dict[str, Any] = {
        "metadata": {"annotations": {names.INJECT: "true"}},
        "spec": {"containers": [{"name": "agent"}]},
    }
    outcome = Reviewer(Settings(), "0").review(pod, Entry.POD)
    assert isinstance(outcome, Mutation)
    apply(pod, outcome.operations)
    (sidecar,) = pod["spec"]["initContainers"]
    written = {one["name"]: one.get("value", "") for one in sidecar["env"]}
    links = {
        f"THOUGHTGATE_{port}_PORT": "tcp://1.2.3.4:80" for port in ("ADMIN", "INBOUND", "OUTBOUND")
    }
    # A variable of the container hides the one that the kubelet makes of a Service.
    assert read_settings(links | written) == read_settings(written)
    assert read_settings(written).admin_port == names.ADMIN_PORT
    # Whether it starts or not, the last lines of its log are in the pod's description.
    assert sidecar["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_log_levels_are_the_same() -> None:
    assert {level.name.lower() for level in Level} == set(names.LOG_LEVELS)


def test_the_probes_and_prometheus_ask_for_paths_that_the_admin_port_serves() -> None:
    source = (Path(admin.__file__)).read_text()
    for path in (names.HEALTH_PATH, names.READY_PATH, names.METRICS_PATH):
        assert f'case "{path}"' in source
