"""Webhook, injector and policies together, on a real API server: who is reviewed, and how often.

The injector runs with the rights of its ServiceAccount alone.
"""

import contextlib
import itertools
import json
import ssl
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.cluster import beside, control_plane
from tests.cluster.beside import Beside
from tests.cluster.cluster import Cluster
from tests.cluster.rest import Rest
from tests.cluster.test_policy import ALL, NAMESPACES
from tests.injector import golden
from tests.injector.replica import review

Pod = dict[str, Any]
WORDS = (None, "true", "false", "flase")


@pytest.fixture(scope="module")
def injector(api_server: Cluster) -> Iterator[Beside]:
    beside.namespaces(api_server)
    with beside.installed(api_server, ALL) as running:
        yield running


@pytest.fixture(scope="module")
def rest(injector: Beside) -> Iterator[Rest]:
    rest = Rest(injector.cluster)
    yield rest
    rest.close()


def pod(**annotations: str) -> Pod:
    return {
        "metadata": {"name": "agent", "annotations": annotations},
        "spec": {"containers": [{"name": "agent", "image": "a"}]},
    }


@pytest.mark.parametrize("case", golden.injected(), ids=lambda case: case.name)
def test_every_golden_pod_is_injected_and_let_through(rest: Rest, case: golden.Case) -> None:
    created = rest.create(case.pod, NAMESPACES[case.entry]).object
    members = created["spec"].get("initContainers", []) + created["spec"]["containers"]
    assert [one["name"] for one in members].count("thoughtgate") == 1


def everything() -> Iterator[tuple[str, Pod]]:
    """Pods with every profile and option, of every quality of service, with ports named as ours."""
    options: list[dict[str, str]] = [
        {},
        {"cpu-limit": "0.1", "memory-limit": "30Mi"},
        {"cpu-request": "1500u", "memory-request": "1e7"},
        {"cpu-request": "100m", "cpu-limit": "100m", "memory-limit": "1G"},
        {"log-level": "warning", "native-sidecar": "false", "exclude-containers": "agent"},
        {"config": "other-config", "image": "registry.example:5000/p@sha256:" + "0" * 64},
    ]
    guaranteed = {"limits": {"cpu": "1", "memory": "1Gi"}}
    for profile, more, resources, ports in itertools.product(
        ("light", "medium", "heavy"), options, ({}, guaranteed), ([], ["proxy"], ["proxy", "admin"])
    ):
        if resources and "cpu-request" in more and "cpu-limit" not in more:
            continue  # refused: it would make a Guaranteed pod Burstable
        asked = {"inject": "true", "profile": profile, **more}
        agent = {
            "name": "agent",
            "image": "a",
            "resources": resources,
            "ports": [{"name": name, "containerPort": 1 + at} for at, name in enumerate(ports)],
        }
        annotations = {f"thoughtgate.io/{key}": value for key, value in asked.items()}
        metadata = {"name": "agent", "annotations": annotations}
        yield (
            f"{asked} {resources} {ports}",
            {"metadata": metadata, "spec": {"containers": [agent]}},
        )


def test_whatever_a_pod_asks_for_the_policy_agrees_with_the_injector(rest: Rest) -> None:
    for words, pod in everything():
        created = rest.create(pod, "free")
        assert created.refused is None, (words, created.refused)


@pytest.mark.parametrize("case", golden.refused(), ids=lambda case: case.name)
def test_every_golden_refusal_is_one(rest: Rest, case: golden.Case) -> None:
    refused = rest.create(case.pod, NAMESPACES[case.entry]).refused
    assert refused is not None


@pytest.mark.parametrize("demand", beside.NAMESPACES)
def test_at_most_one_entry_reviews_a_pod_and_only_if_it_opted_in(
    rest: Rest, injector: Beside, demand: str | None
) -> None:
    for label, annotation in itertools.product(WORDS, WORDS):
        asked = pod(**({"thoughtgate.io/inject": annotation} if annotation else {}))
        if label:
            asked["metadata"]["labels"] = {"thoughtgate.io/inject": label}
        before = len(injector.reviews())
        reply = rest.create(asked, beside.NAMESPACES[demand])
        words = {word for word in (label, annotation) if word}
        if words - {"false"}:
            entries = ["pod"]
        elif words:
            entries = ["required"] if demand == "required" else []
        else:
            entries = ["namespace"] if demand else []
        reviews = injector.reviews()[before:]
        assert [one["entry"] for one in reviews] == entries, (demand, label, annotation)
        good = words <= {"true"} or (words == {"false"} and demand != "required")
        assert (reply.refused is None) == good, (demand, label, annotation, reply.refused)
        if good:
            assert ("initContainers" in reply.object["spec"]) == bool(entries)


def test_a_second_review_follows_another_webhooks_change_only_and_changes_nothing(
    rest: Rest, injector: Beside, api_server: Cluster
) -> None:
    asked = pod(**{"thoughtgate.io/inject": "true"})
    before = len(injector.reviews())
    once = rest.create(asked, "free").object
    assert [one["outcome"] for one in injector.reviews()[before:]] == ["injected"]
    with another_webhook(api_server, rest):
        before = len(injector.reviews())
        twice = rest.create(asked, "free").object
        assert [one["outcome"] for one in injector.reviews()[before:]] == ["injected", "unchanged"]
    assert twice["metadata"]["labels"] == {"another": "was-here"}
    for each in (once, twice):
        for volume in each["spec"]["volumes"]:
            if volume["name"].startswith("kube-api-access-"):
                volume["name"] = "kube-api-access"
        for mount in each["spec"]["containers"][0]["volumeMounts"]:
            if mount["name"].startswith("kube-api-access-"):
                mount["name"] = "kube-api-access"
    assert twice["spec"] == once["spec"]


@contextlib.contextmanager
def another_webhook(cluster: Cluster, rest: Rest) -> Iterator[None]:
    """One that labels each pod, after ours by its name; its certificate is the API server's own."""

    class Label(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            uid = asked["request"]["uid"]
            has = asked["request"]["object"]["metadata"].get("labels")
            patch = [{"op": "add", "path": "/metadata/labels", "value": {"another": "was-here"}}]
            response: Pod = {"uid": uid, "allowed": True}
            if not has:
                response["patchType"] = "JSONPatch"
                response["patch"] = b64encode(json.dumps(patch).encode()).decode()
            body = json.dumps({**asked, "request": None, "response": response}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    keys = cluster.kubeconfig.parent / "pki"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "apiserver.crt", keys / "apiserver.key")
    server = HTTPServer(("127.0.0.1", 0), Label)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    port = server.server_address[1]
    try:
        cluster.apply(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": "zz-another"},
                "webhooks": [
                    {
                        "name": "another.example.com",
                        "clientConfig": {
                            "url": f"https://127.0.0.1:{port}/",
                            "caBundle": b64encode((keys / "ca.crt").read_bytes()).decode(),
                        },
                        "admissionReviewVersions": ["v1"],
                        "sideEffects": "None",
                        "rules": [
                            {
                                "apiGroups": [""],
                                "apiVersions": ["v1"],
                                "resources": ["pods"],
                                "operations": ["CREATE"],
                            }
                        ],
                    }
                ],
            }
        )
        labelled = pod()
        control_plane.wait(
            "the other webhook",
            lambda: "labels" in rest.create(labelled, "free").object["metadata"],
            [],
        )
        yield
    finally:
        cluster.kubectl("delete", "mutatingwebhookconfiguration", "zz-another")
        server.shutdown()
        server.server_close()
        thread.join()


def test_pods_of_controllers_are_injected_and_let_through(api_server: Cluster, rest: Rest) -> None:
    """A ReplicaSet's pods have generated names, and its controller is who creates them."""
    template = pod(**{"thoughtgate.io/inject": "true"})
    template["metadata"] = {
        "labels": {"app": "agent"},
        "annotations": template["metadata"]["annotations"],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template},
    }
    assert rest.create(deployment, "free", dry_run=False).refused is None
    pods = "/api/v1/namespaces/free/pods?labelSelector=app%3Dagent"
    control_plane.wait(
        "the Deployment's pod", lambda: bool(rest.send("GET", pods).object["items"]), []
    )
    [made] = rest.send("GET", pods).object["items"]
    assert made["spec"]["initContainers"][0]["name"] == "thoughtgate"
    api_server.kubectl("delete", "deployment", "agent", "-n", "free")


def test_a_forged_review_gains_nothing(rest: Rest) -> None:
    """Whoever reaches the endpoint gets back what he sent, with a public manifest's additions."""
    configuration = rest.send(
        "GET",
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/thoughtgate-injector",
    ).object
    client = configuration["webhooks"][0]["clientConfig"]
    trusted = b64decode(client["caBundle"]).decode()
    context = ssl.create_default_context(cadata=trusted)
    context.check_hostname = False  # it is reached by its address here

    def everything() -> dict[str, list[str]]:
        return {
            path: sorted(
                item["metadata"]["uid"] + item["metadata"]["resourceVersion"]
                for item in rest.send("GET", path).object["items"]
            )
            for path in (
                "/api/v1/namespaces/kube-system/pods",
                "/api/v1/secrets",
                "/api/v1/configmaps",
            )
        }

    before = everything()
    connection = HTTPSConnection("127.0.0.1", client["service"]["port"], context=context)
    forged = review(
        pod(**{"thoughtgate.io/inject": "true"}),
        namespace="kube-system",
        userInfo={"username": "system:admin", "groups": ["system:masters"]},
    )
    for path in ("/inject/pod", "/inject/namespace", "/inject/required"):
        connection.request("POST", path, json.dumps(forged))
        answer = json.loads(connection.getresponse().read())["response"]
        assert answer["uid"] == forged["request"]["uid"]
        assert set(answer) <= {"uid", "allowed", "patch", "patchType", "status", "warnings"}
        added = b64decode(answer.get("patch", "")).decode()
        assert "BEGIN" not in added
        assert "caBundle" not in added
    connection.close()
    assert everything() == before


def test_a_sidecar_is_restricted_where_the_namespace_demands_it(
    api_server: Cluster, rest: Rest
) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": "restricted", "labels": labels}
    api_server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    api_server.wait("create", "serviceaccount/default", "restricted")
    asked = pod(**{"thoughtgate.io/inject": "true"})
    asked["spec"]["containers"][0]["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert rest.create(asked, "restricted").refused is None


def test_an_option_that_the_settings_do_not_allow_is_refused(
    api_server: Cluster, rest: Rest
) -> None:
    """Last in this module: it takes the settings back."""
    guarded = {
        "thoughtgate.io/config": "other",
        "thoughtgate.io/image": "registry.example/proxy",
        "thoughtgate.io/native-sidecar": "false",
    }
    for key, value in guarded.items():
        asked = pod(**{"thoughtgate.io/inject": "true", key: value})
        assert rest.create(asked, "free").refused is None
    with beside.installed(api_server, ALL | {"options.allowed": ""}):
        for key, value in guarded.items():
            asked = pod(**{"thoughtgate.io/inject": "true", key: value})
            refused = str(rest.create(asked, "free").refused)
            assert f"annotation `{key}` needs the operator's settings to allow" in refused
