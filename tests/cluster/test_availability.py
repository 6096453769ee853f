"""The injector while pods are created: what is planned refuses none, what is not refuses few."""

import base64
import datetime as dt
import json
import re
import time
from collections.abc import Iterator

import pytest

from tests.cluster import creations, replicas
from tests.cluster.cluster import Cluster
from tests.cluster.creations import Load
from tests.cluster.images import ROOT
from tests.cluster.install import NAMESPACE, install
from thoughtgate_injector.tls import certificates
from thoughtgate_injector.tls.certificates import Authorities

# Pods created a second while the replicas change. Two processors have little left beside 50.
PACES = [20, pytest.param(50, marks=pytest.mark.long)]
# Creations, so that there is no doubt that there were any.
SOME = 20
# From the API server, or from kube-proxy in front of a Service without endpoints.
NOBODY = re.compile("no endpoints available for service|connection refused")


@pytest.fixture(scope="module", params=PACES)
def load(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Load]:
    """One replica, and pods created at this pace from now to the last test of it."""
    install(cluster)
    with cluster.namespace("load") as name:
        with creations.creating(cluster, name, request.param) as running:
            running.await_created(request.param)
            yield running
        slowest = max(one.seconds for one in running.created)
        print(
            f"{len(running.created)} creations, the slowest of {slowest:.2f} s; the machine was "
            f"too slow for {running.left_out} more"
        )
    cluster.kubectl("delete", "pdb", "thoughtgate-injector", "-n", NAMESPACE)
    install(cluster)


@pytest.fixture(scope="module")
def three(cluster: Cluster, load: Load) -> Load:
    """The same with three replicas: the component is applied while pods are created."""
    install(cluster, "ha")
    replicas.rolled_out(cluster)
    return load


def test_a_rolling_update_from_one_replica_to_three_refuses_no_pod(
    cluster: Cluster, load: Load
) -> None:
    [before] = replicas.ready(cluster)
    began = time.monotonic()
    install(cluster, "ha")
    replicas.rolled_out(cluster)
    load.await_created(SOME)
    after = replicas.ready(cluster)
    assert len(after) == 3
    assert before not in after
    assert load.refused(began) == []


@pytest.mark.long
def test_a_rolling_update_of_three_replicas_refuses_no_pod(cluster: Cluster, three: Load) -> None:
    before = {replica.uid for replica in replicas.ready(cluster)}
    assert len(before) == 3
    began = time.monotonic()
    cluster.kubectl("rollout", "restart", replicas.DEPLOYMENT, "-n", NAMESPACE)
    replicas.rolled_out(cluster)
    three.await_created(SOME)
    assert not before & {replica.uid for replica in replicas.ready(cluster)}
    print(f"rolled out in {time.monotonic() - began:.1f} s")
    assert three.refused(began) == []


def test_an_eviction_of_the_busiest_replica_refuses_no_pod(cluster: Cluster, three: Load) -> None:
    busiest = replicas.busiest(cluster, lambda: three.await_created(SOME))
    began = time.monotonic()
    replicas.evict(cluster, busiest)
    replicas.until(
        lambda: len({one.uid for one in replicas.ready(cluster)} - {busiest.uid}) == 3,
        "the evicted replica's successor",
    )
    three.await_created(SOME)
    assert three.refused(began) == []


def test_a_new_ca_and_its_leaves_refuse_no_pod(cluster: Cluster, three: Load) -> None:
    """A CA that was announced while we did not look: all that remains of a rotation at once."""
    stored = replicas.secret(cluster)
    data = {key: base64.b64decode(value) for key, value in stored["data"].items()}
    old = certificates.authorities_from(data).newest
    announced = replicas.now() - certificates.ANNOUNCED - dt.timedelta(minutes=1)
    both = Authorities(certificates.new_authority(announced), old)
    encoded = {key: base64.b64encode(value).decode() for key, value in both.data().items()}
    began = time.monotonic()
    patch = ("patch", "secret", "thoughtgate-injector-ca", "-n", NAMESPACE, "--type=merge", "-p")
    cluster.kubectl(*patch, json.dumps({"data": encoded}))

    def taken() -> bool:
        return all(replica.serves_leaf_of(both.newest) for replica in replicas.ready(cluster))

    replicas.until(taken, "leaves of the new CA")
    # Connections that stood went on; these are new ones, to each of the replicas in turn.
    three.await_created(SOME)
    [bundle] = {
        entry["clientConfig"]["caBundle"]
        for entry in cluster.json("get", "mutatingwebhookconfiguration", "thoughtgate-injector")[
            "webhooks"
        ]
    }
    assert base64.b64decode(bundle) == both.newest.pem() + old.pem()
    assert three.refused(began) == []


def test_the_sudden_end_of_the_busiest_replica_refuses_only_what_is_in_flight(
    cluster: Cluster, three: Load
) -> None:
    busiest = replicas.busiest(cluster, lambda: three.await_created(SOME))
    began = time.monotonic()
    busiest.kill()
    three.await_created(4 * SOME)
    refused = three.refused(began)
    print(f"refused by a SIGKILL: {refused}")
    assert len(refused) <= 5
    for words in refused:
        assert words.startswith("500 Internal error occurred: failed calling webhook"), words
    replicas.until(
        lambda: len(replicas.ready(cluster)) == 3, "the killed replica to be Ready again"
    )


def test_without_a_replica_only_opted_in_pods_wait_and_none_of_our_own(
    cluster: Cluster, three: Load
) -> None:
    """What a cluster that starts cold meets: the webhook is there, and nobody to answer it."""
    replicas.scale(cluster, 0)
    replicas.until(lambda: not cluster.json(*replicas.PODS)["items"], "the end of all replicas")
    began = time.monotonic()
    three.await_created(SOME)  # some of which may have begun before
    for words in three.refused(began):
        assert 'failed calling webhook "pod.thoughtgate.io"' in words
        assert NOBODY.search(words), words
    assert len(three.refused(began)) >= 5
    image = cluster.base_image()
    with cluster.namespace("cold") as name:
        cluster.apply(deployment("gated", image, {"thoughtgate.io/inject": "true"}), name)
        cluster.apply(config_map(), name)
        # As a CNI plugin's: on the host's network, opted in by mistake, in an excluded namespace.
        network = deployment("network", image, {"thoughtgate.io/inject": "true"}, hostNetwork=True)
        cluster.apply(network, "kube-system")
        cluster.apply(deployment("plain", image, {}), name)
        for what, where in (("network", "kube-system"), ("plain", name)):
            cluster.wait("condition=Available", f"deployment/{what}", where)
        told = f"{cluster.json('get', 'deployment', 'gated', '-n', name)['status']}"
        assert NOBODY.search(told), told
        replicas.scale(cluster, 3)
        replicas.until(
            lambda: bool(
                cluster.json("get", "deployment", "gated", "-n", name)["status"].get("replicas")
            ),
            "the ReplicaSet's next try",
        )
        [gated] = cluster.json("get", "pods", "-n", name, "-l", "app=gated")["items"]
        assert gated["spec"]["initContainers"][0]["name"] == "thoughtgate"
    cluster.kubectl("delete", "deployment", "network", "-n", "kube-system", "--wait=false")
    replicas.rolled_out(cluster)


def deployment(
    name: str, image: str, annotations: dict[str, str], **spec: object
) -> dict[str, object]:
    """One pod that waits."""
    container = {
        "name": "agent",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["sleep", "infinity"],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": annotations},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec},
            },
        },
    }


def config_map() -> str:
    """The reference document's."""
    return (ROOT / "examples" / "config.yaml").read_text()
