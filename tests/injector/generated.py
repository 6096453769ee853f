"""Pods that the API server accepts, generated; and a pod without what the contract adds, naively.

What the generator knows of validity is enough for most pods; the tests in the cluster ask the API
server itself which of them it takes without us.
"""

import copy
from typing import Any

from hypothesis import strategies as st

from thoughtgate_injector.core.sidecar import VOLUMES

Strategy = st.SearchStrategy[Any]
_MIB = ("16Mi", "33554432", "64M", "0.1Gi", "128e6")
_CORES = ("10m", "0.05", "100m", "0.1")


def _optional(**values: Strategy) -> Strategy:
    return st.fixed_dictionaries({}, optional=values)


def _some(*values: Any) -> Strategy:
    return st.sampled_from(values)


_field = _some("metadata.name", "status.podIP", "spec.nodeName", "metadata.labels['app']").map(
    lambda path: {"fieldRef": {"fieldPath": path}}
)
_source = (
    _field
    | st.just({"configMapKeyRef": {"name": "c", "key": "k", "optional": True}})
    | st.just({"secretKeyRef": {"name": "s", "key": "k"}})
    | st.just({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}})
)
_variable = st.builds(
    lambda name, value: {"name": name, **value},
    _some("MCP_SERVER_URL", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "POD_NAME", "X.y"),
    _some("", "a", "localhost", "x,localhost", "*", "10.0.0.0/8, ", "$(X)", "ü").map(
        lambda value: {"value": value}
    )
    | _source.map(lambda source: {"valueFrom": source})
    | st.just({}),
)
_port = st.builds(
    lambda number, more: {"containerPort": number, **more},
    _some(80, 443, 7466, 7470, 8080, 65535),
    _optional(
        name=_some("proxy", "admin", "tg-proxy", "tg-admin", "web", "http-metrics"),
        protocol=_some("TCP", "UDP", "SCTP"),
    ),
)
_ports = st.lists(
    _port,
    max_size=3,
    unique_by=(
        lambda port: port.get("name", id(port)),
        lambda port: (port["containerPort"], port.get("protocol")),
    ),
)
_resources = st.builds(
    lambda requests, limits: {"requests": requests, "limits": {**requests, **limits}},
    _optional(cpu=_some(*_CORES), memory=_some(*_MIB)),
    _optional(cpu=_some("1", "1500m", 2), memory=_some("1Gi", "1e9", "1G")),
)
_probe = st.builds(
    lambda action, more: {**action, **more},
    _some(
        {"httpGet": {"path": "/", "port": 80}},
        {"tcpSocket": {"port": "web"}},
        {"exec": {"command": ["true"]}},
        {"grpc": {"port": 9}},
    ),
    _optional(periodSeconds=_some(1, 60), failureThreshold=_some(1, 9)),
)
_security = _optional(
    runAsUser=_some(0, 1000, 65532),
    readOnlyRootFilesystem=st.booleans(),
    capabilities=_some({"drop": ["ALL"]}, {"add": ["NET_ADMIN"]}),
    allowPrivilegeEscalation=st.just(True),
    seccompProfile=st.just({"type": "Unconfined"}),
)
_VOLUMES: dict[str, dict[str, Any]] = {
    "work": {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    "config": {"configMap": {"name": "c", "optional": True, "defaultMode": 0o400}},
    "secrets": {"secret": {"secretName": "s", "items": [{"key": "k", "path": "p"}]}},
    "host": {"hostPath": {"path": "/var/log", "type": "Directory"}},
    "claim": {"persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
    "podinfo": {
        "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}
    },
    "token": {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "a"}}]}},
    "scratch": {
        "ephemeral": {
            "volumeClaimTemplate": {
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                }
            }
        }
    },
    # Names of ours, which are refused, and one that only looks like them.
    "thoughtgate-config": {"configMap": {"name": "mine"}},
    "thoughtgate-state": {"emptyDir": {}},
    "thoughtgates": {"emptyDir": {}},
}


def _mounts(volumes: list[str]) -> Strategy:
    paths = _some("/work", "/etc/config", "/etc/thought", "/var/lib", "/tmp", "/a")
    one = st.builds(
        lambda name, path: {"name": name, "mountPath": path},
        _some(*[name for name in volumes if not name.startswith("thoughtgate-")] or ["none"]),
        paths,
    )
    return st.lists(one, max_size=2, unique_by=lambda mount: mount["mountPath"])


def _container(name: str, volumes: list[str], *, init: bool) -> Strategy:
    always: dict[str, Strategy] = {}
    if any(not volume.startswith("thoughtgate-") for volume in volumes):
        always["volumeMounts"] = _mounts(volumes)
    if init:
        always["restartPolicy"] = st.just("Always")
    else:
        always["livenessProbe"] = _probe
        always["lifecycle"] = st.just({"preStop": {"sleep": {"seconds": 1}}})
    return st.builds(
        lambda image, more: {"name": name, "image": image, **more},
        _some("x", "registry.example:5000/a/b:v1", "a@sha256:" + "0" * 64),
        _optional(
            command=st.just(["sh", "-c", '$(X) "ü"']),
            env=st.lists(_variable, max_size=4),
            envFrom=st.just([{"prefix": "P_", "configMapRef": {"name": "c", "optional": True}}]),
            ports=_ports,
            resources=_resources,
            securityContext=_security,
            imagePullPolicy=_some("Always", "Never"),
            terminationMessagePolicy=st.just("FallbackToLogsOnError"),
            tty=st.booleans(),
            **always,
        ),
    )


@st.composite
def _spec(draw: st.DrawFn) -> dict[str, Any]:
    volumes: list[str] = draw(st.lists(_some(*_VOLUMES), unique=True, max_size=3))
    names: list[str] = draw(st.lists(_some(*"abcdef"), unique=True, min_size=1, max_size=4))
    inits = draw(st.integers(0, len(names) - 1))
    spec: dict[str, Any] = draw(_of_pod)
    spec["containers"] = [draw(_container(name, volumes, init=False)) for name in names[inits:]]
    empty = st.booleans()
    if inits or draw(empty):
        spec["initContainers"] = [
            draw(_container(name, volumes, init=True)) for name in names[:inits]
        ]
    has_list = draw(empty)
    if volumes or has_list:
        spec["volumes"] = [{"name": name, **copy.deepcopy(_VOLUMES[name])} for name in volumes]
    if spec.pop("guaranteed", False):
        for container in spec["containers"] + spec.get("initContainers", []):
            amounts = {"cpu": draw(_some(*_CORES)), "memory": draw(_some(*_MIB))}
            container["resources"] = {"limits": amounts}
    return spec


_of_pod = _optional(
    guaranteed=st.just(True),
    resources=_some(
        {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"cpu": "9", "memory": "16Gi"}},
        {"limits": {"cpu": "9", "memory": "16Gi"}},
        {"requests": {"memory": "8589934592"}},
    ),
    restartPolicy=_some("Always", "OnFailure", "Never"),
    terminationGracePeriodSeconds=_some(0, 1, 30, 86400),
    activeDeadlineSeconds=st.just(60),
    nodeSelector=_some({"kubernetes.io/os": "linux"}, {"disk": "ssd"}),
    tolerations=st.just([{"operator": "Exists"}]),
    automountServiceAccountToken=st.booleans(),
    enableServiceLinks=st.just(False),
    hostIPC=st.just(True),
    hostNetwork=st.just(False),
    shareProcessNamespace=st.booleans(),
    hostname=st.just("h"),
    setHostnameAsFQDN=st.just(True),
    os=st.just({"name": "linux"}),
    hostAliases=st.just([{"ip": "127.0.0.1", "hostnames": ["a.b"]}]),
    dnsPolicy=st.just("Default"),
    readinessGates=st.just([{"conditionType": "example.com/ready"}]),
    schedulingGates=st.just([{"name": "example.com/gate"}]),
    securityContext=_some(
        {"runAsNonRoot": True, "runAsUser": 1, "fsGroup": 2, "supplementalGroups": [3]},
        {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]},
    ),
)
_annotations = _optional(
    **{
        "thoughtgate.io/profile": _some("light", "medium", "heavy"),
        "thoughtgate.io/log-level": st.just("debug"),
        "thoughtgate.io/cpu-limit": _some("20m", "0.5"),
        "thoughtgate.io/memory-limit": _some("64Mi", "1Gi"),
        "thoughtgate.io/status": st.just("forged"),
        "prometheus.io/port": st.just("1"),
        "kubectl.kubernetes.io/default-container": _some(*"ab"),
        "example.com/a.b_c": _some("", '{"a": "\\u0000"}', "ü" * 1000),
    }
)


def pods(**annotations: str) -> st.SearchStrategy[dict[str, Any]]:
    """Give pods with these annotations and others."""
    return st.builds(
        lambda labels, others, spec: {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "generateName": "a-",
                "annotations": others | annotations,
                **({} if labels is None else {"labels": labels}),
            },
            "spec": spec,
        },
        _some(None, {"app": "a"}, {"app.kubernetes.io/name": "a", "team": "t"}),
        _annotations,
        _spec(),
    )


def without_ours(pod: dict[str, Any]) -> dict[str, Any]:
    """Take out of a pod, naively, all that the contract lets us write."""
    rest = copy.deepcopy(pod)
    spec = rest["spec"]
    for group in ("initContainers", "containers"):
        members = [one for one in spec.get(group) or [] if one["name"] != "thoughtgate"]
        for member in members:
            member["env"] = [
                variable
                for variable in member.get("env") or []
                if variable["name"] not in {"NO_PROXY", "no_proxy"}
                and variable != {"name": "MCP_SERVER_URL", "value": "http://localhost:7467"}
            ]
        spec[group] = members
    spec["volumes"] = [one for one in spec.get("volumes") or [] if one["name"] not in VOLUMES]
    for section in ((spec.get("resources") or {}).get(key) or {} for key in ("requests", "limits")):
        for kind in {"cpu", "memory"} & section.keys():
            section[kind] = "raised"
    added = ("prometheus.io/", "thoughtgate.io/status", "kubectl.kubernetes.io/default-container")
    annotations = rest["metadata"]["annotations"]
    rest["metadata"]["annotations"] = {
        key: value for key, value in annotations.items() if not key.startswith(added)
    }
    return rest
