"""What the injector may do, and what its namespace lets in: on a real API server."""

from collections.abc import Iterator

import pytest

from tests.cluster import beside
from tests.cluster.cluster import Cluster
from tests.cluster.install import NAMESPACE
from tests.cluster.rest import Rest

FRONT = f"system:serviceaccount:{NAMESPACE}:"
ACCOUNT = f"{FRONT}thoughtgate-injector"
WATCHDOG = f"{FRONT}thoughtgate-watchdog"


@pytest.fixture(scope="module")
def rest(api_server: Cluster) -> Iterator[Rest]:
    beside.policies(api_server, {})
    rest = Rest(api_server)
    yield rest
    rest.close()


RULES = [
    ("create", "secrets", NAMESPACE, "", True),
    ("get", "secrets", NAMESPACE, "thoughtgate-injector-ca", True),
    ("patch", "secrets", NAMESPACE, "thoughtgate-injector-ca", True),
    ("get", "mutatingwebhookconfigurations", "", "thoughtgate-injector", True),
    ("patch", "mutatingwebhookconfigurations", "", "thoughtgate-injector", True),
    ("get", "validatingwebhookconfigurations", "", "thoughtgate-injector", True),
    ("patch", "validatingwebhookconfigurations", "", "thoughtgate-injector", True),
    ("list", "secrets", NAMESPACE, "", False),
    ("get", "secrets", NAMESPACE, "another", False),
    ("delete", "secrets", NAMESPACE, "thoughtgate-injector-ca", False),
    ("get", "secrets", "free", "thoughtgate-secrets", False),
    ("create", "secrets", "free", "", False),
    ("get", "configmaps", "free", "thoughtgate-config", False),
    ("list", "configmaps", NAMESPACE, "", False),
    ("list", "pods", "free", "", False),
    ("get", "pods", NAMESPACE, "", False),
    ("create", "pods", NAMESPACE, "", False),
    ("create", "pods/exec", NAMESPACE, "", False),
    ("patch", "mutatingwebhookconfigurations", "", "another", False),
    ("create", "mutatingwebhookconfigurations", "", "", False),
    ("delete", "mutatingwebhookconfigurations", "", "thoughtgate-injector", False),
    ("update", "validatingadmissionpolicies", "", "thoughtgate-sidecar", False),
    ("list", "namespaces", "", "", False),
    ("create", "serviceaccounts/token", NAMESPACE, "", False),
    ("impersonate", "users", "", "", False),
]


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "name", "may"),
    RULES,
    ids=[" ".join(str(part) for part in rule[:4]) for rule in RULES],
)
def test_the_injector_may_do_what_it_needs_and_no_more(
    rest: Rest, verb: str, resource: str, namespace: str, name: str, may: bool
) -> None:
    assert allowed(rest, ACCOUNT, verb, resource, namespace, name) is may


WATCHDOG_RULES = [
    ("list", "pods", "", "", True),
    ("watch", "pods", "", "", True),
    ("list", "namespaces", "", "", True),
    ("watch", "namespaces", "", "", True),
    ("create", "events", "free", "", True),
    ("get", "mutatingwebhookconfigurations", "", "thoughtgate-injector", True),
    ("patch", "mutatingwebhookconfigurations", "", "thoughtgate-injector", False),
    ("get", "mutatingwebhookconfigurations", "", "another", False),
    # Only with the component `evict`.
    ("create", "pods/eviction", "free", "", False),
    ("delete", "pods", "free", "", False),
    ("patch", "pods", "free", "", False),
    ("create", "pods/exec", "free", "", False),
    ("get", "secrets", NAMESPACE, "thoughtgate-injector-ca", False),
    ("get", "configmaps", "free", "thoughtgate-config", False),
    ("list", "events", "free", "", False),
    ("patch", "namespaces", "", "free", False),
]


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "name", "may"),
    WATCHDOG_RULES,
    ids=[" ".join(str(part) for part in rule[:4]) for rule in WATCHDOG_RULES],
)
def test_the_watchdog_may_look_and_say_and_no_more(
    rest: Rest, verb: str, resource: str, namespace: str, name: str, may: bool
) -> None:
    assert allowed(rest, WATCHDOG, verb, resource, namespace, name) is may


def allowed(rest: Rest, account: str, verb: str, resource: str, namespace: str, name: str) -> bool:
    plural, _, sub = resource.partition("/")
    group = "admissionregistration.k8s.io" if "webhook" in plural or "policies" in plural else ""
    attributes = {
        "verb": verb,
        "group": group,
        "resource": plural,
        "subresource": sub,
        "namespace": namespace,
        "name": name,
    }
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"]
    spec = {"user": account, "groups": [*groups, "system:authenticated"]}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = rest.send("POST", path, {"spec": {**spec, "resourceAttributes": attributes}}).object
    found: bool = answer["status"]["allowed"]
    return found


@pytest.mark.usefixtures("rest")
def test_kubectl_lists_no_right_beside_those(api_server: Cluster) -> None:
    """`kubectl auth can-i --list`: ours, and those that Kubernetes gives to everybody."""
    listed = api_server.kubectl("auth", "can-i", "--list", "--as", ACCOUNT, "-n", NAMESPACE)
    own = [
        " ".join(line.split())
        for line in listed.splitlines()[1:]
        if not line.startswith(" ") and "authentication" not in line and "authorization" not in line
    ]
    front, back = "webhookconfigurations.admissionregistration.k8s.io", "[get patch]"
    assert sorted(own) == [
        f"mutating{front} [] [thoughtgate-injector] {back}",
        "secrets [] [] [create]",
        f"secrets [] [thoughtgate-injector-ca] {back}",
        f"validating{front} [] [thoughtgate-injector] {back}",
    ]


def test_pod_security_refuses_what_is_not_restricted_in_our_namespace(rest: Rest) -> None:
    namespace = rest.send("GET", f"/api/v1/namespaces/{NAMESPACE}").object
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    refused = rest.create(pod, NAMESPACE).refused
    assert 'violates PodSecurity "restricted' in str(refused)
    deployments = rest.send("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments").object
    for found in deployments["items"]:
        template = found["spec"]["template"]
        template["metadata"]["name"] = "ours"
        assert rest.create(template, NAMESPACE).refused is None, found["metadata"]["name"]
