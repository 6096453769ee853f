"""Approvals in the cluster: the reference document's configuration, as printed, and a Slack."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.cluster import slack as fake
from tests.cluster.cluster import Cluster
from tests.cluster.images import ROOT
from tests.cluster.install import install
from tests.cluster.main_job import SIDECAR, ask, pod, server
from tests.cluster.slack import Slack

PRINTED = (ROOT / "tests" / "proxy" / "core" / "config" / "files" / "reference.yaml").read_text()
AGENT = "my-agent"
# Before any agent: its sidecar looks for Slack soon.
pytestmark = pytest.mark.usefixtures("slack")


@pytest.fixture(scope="module")
def slack(cluster: Cluster) -> Iterator[Slack]:
    install(cluster)
    with fake.running(cluster) as slack:
        yield slack


def namespace(cluster: Cluster, image: str, config: str) -> Iterator[str]:
    """A namespace with the configuration, the document's Secret, the server and the agent."""
    with cluster.namespace("approvals") as name:
        data = {"config.yaml": config}
        metadata = {"name": "thoughtgate-config", "labels": {"thoughtgate.io/config": "true"}}
        cluster.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}, name
        )
        secret = ("create", "secret", "generic", "thoughtgate-secrets", "-n", name)
        cluster.kubectl(*secret, "--from-literal=slack-token=xoxb-your-token")
        cluster.apply(server(image), name)
        labels = {"app": "my-agent", "team": "data-engineering"}
        cluster.wait("condition=Available", "deployment/mcp-server", name)
        cluster.apply(pod(AGENT, image, labels), name)
        cluster.wait_ready(AGENT, name)
        yield name


@pytest.fixture(scope="module")
def agents(cluster: Cluster, mcp_image: str) -> Iterator[str]:
    yield from namespace(cluster, mcp_image, PRINTED)


@pytest.fixture(scope="module")
def hurried(cluster: Cluster, mcp_image: str) -> Iterator[str]:
    yield from namespace(cluster, mcp_image, PRINTED.replace("timeout: 5m", "timeout: 6s"))


@pytest.fixture
def background() -> Iterator[Callable[..., "Future[Any]"]]:
    """Asks while the test goes on."""
    with ThreadPoolExecutor() as pool:
        yield lambda *given: pool.submit(ask, *given)


def test_a_reaction_approves_the_call(
    cluster: Cluster, slack: Slack, agents: str, background: Callable[..., "Future[Any]"]
) -> None:
    asked = background(cluster, AGENT, agents, ("delete_user", {"user_id": 4071}))
    message = posted(slack, "4071")
    for told in ("delete_user", "data-engineering/my-agent", agents, AGENT, "delete_*"):
        assert told in json.dumps(message), told
    assert not asked.done()
    slack.react(message, "+1")
    (answer,) = asked.result(60)
    assert (answer["is_error"], answer["text"]) == (False, "user 4071 is deleted")
    until(
        lambda: "*Approved* by <@U0ALICE>" in json.dumps(slack.messages("4071")),
        "the message's last word",
    )


def test_a_reaction_rejects_the_call(
    cluster: Cluster, slack: Slack, agents: str, background: Callable[..., "Future[Any]"]
) -> None:
    asked = background(cluster, AGENT, agents, ("delete_user", {"user_id": 4072}))
    slack.react(posted(slack, "4072"), "x")
    (answer,) = asked.result(60)
    assert answer["is_error"]
    assert "rejected" in answer["text"]


def test_nobody_answers_and_the_time_is_over(cluster: Cluster, hurried: str) -> None:
    (answer,) = ask(cluster, AGENT, hurried, ("delete_user", {"user_id": 4073}))
    assert answer["is_error"]
    assert "Nobody has refused it" in answer["text"], answer["text"]
    assert "rejected" not in answer["text"]


def test_an_approval_still_counts_after_the_sidecar_was_killed(
    cluster: Cluster, slack: Slack, agents: str, background: Callable[..., "Future[Any]"]
) -> None:
    asked = background(cluster, AGENT, agents, ("delete_user", {"user_id": 4074}))
    message = posted(slack, "4074")
    cluster.kill(AGENT, SIDECAR, agents)
    # Its client sees the connection break, and may well give up.
    asked.exception(60)
    slack.react(message, "white_check_mark")
    until(lambda: restarted(cluster, agents), "the sidecar to be back")
    (answer,) = ask(cluster, AGENT, agents, ("delete_user", {"user_id": 4074}))
    assert (answer["is_error"], answer["text"]) == (False, "user 4074 is deleted")
    assert len(slack.messages("4074")) == 1, "the humans are asked once"


def restarted(cluster: Cluster, namespace: str) -> bool:
    status = cluster.json("get", "pod", AGENT, "-n", namespace)["status"]
    (sidecar,) = status["initContainerStatuses"]
    return bool(sidecar["restartCount"] == 1 and sidecar["ready"])


def posted(slack: Slack, text: str) -> dict[str, Any]:
    """The one message in which `text` stands, once it is there."""
    until(lambda: slack.messages(text), f"a message with {text}")
    (message,) = slack.messages(text)
    return message


def until(condition: Callable[[], Any], what: str, limit: float = 60) -> None:
    """Wait for `condition`."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)  # the pace of asking
