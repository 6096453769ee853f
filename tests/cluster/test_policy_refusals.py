"""What a refusal says of a sidecar that another webhook has changed after our last review."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster import beside
from tests.cluster.cluster import Cluster
from tests.cluster.rest import Rest
from tests.injector.core.test_sidecar_diff import injected, ours

Pod = dict[str, Any]


@pytest.fixture(scope="module")
def rest(api_server: Cluster) -> Iterator[Rest]:
    beside.policies(api_server, {})
    beside.namespaces(api_server)
    rest = Rest(api_server)
    yield rest
    rest.close()


ADDED: dict[str, tuple[Callable[[Pod], object], str]] = {
    "environment": (
        lambda p: ours(p)["env"].append({"name": "AWS_ROLE_ARN", "value": "x"}),
        "its `env`, with AWS_ROLE_ARN; a webhook that changes every container must leave",
    ),
    "a mount": (
        lambda p: (
            p["spec"]["volumes"].append({"name": "vault-secrets", "emptyDir": {}}),
            ours(p)["volumeMounts"].append(
                {"name": "vault-secrets", "mountPath": "/vault/secrets"}
            ),
        ),
        "its `volumeMounts`, with vault-secrets; a webhook",
    ),
    "a field of the security context": (
        lambda p: ours(p)["securityContext"].update(privileged=False),
        "its `securityContext`, with privileged; a webhook",
    ),
    "a field": (lambda p: ours(p).update(workingDir="/x"), "a field, with workingDir; a webhook"),
    "a digest": (
        lambda p: ours(p).update(image=ours(p)["image"] + "@sha256:" + "a" * 64),
        "a mirror's name or a digest that a webhook writes belongs among them",
    ),
}


@pytest.mark.parametrize("added", ADDED)
def test_a_refusal_names_what_another_webhook_has_added(rest: Rest, added: str) -> None:
    change, words = ADDED[added]
    pod = injected()
    change(pod)
    refused = rest.create(pod, "free").refused
    assert refused is not None
    assert words in refused
