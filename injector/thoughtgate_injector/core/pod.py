"""The fields of a pod that the injector reads, with their types checked once.

Source: k8s.io/api/core/v1 types; all else of a pod is neither read nor touched.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from thoughtgate_injector.core.refusal import Refusal, shown
from thoughtgate_injector.core.untyped import mapping

Quantities = dict[str, str | int | float]


class _Read(msgspec.Struct, frozen=True, rename="camel"):
    """Unknown fields are ignored: each release of Kubernetes adds some."""


class EnvVar(_Read, frozen=True, rename="camel"):
    name: str = ""
    value: str | None = None
    value_from: dict[str, Any] | None = None


class EnvFrom(_Read, frozen=True, rename="camel"):
    prefix: str | None = None


class ContainerPort(_Read, frozen=True, rename="camel"):
    container_port: int = 0
    name: str | None = None
    protocol: str | None = None


class VolumeMount(_Read, frozen=True, rename="camel"):
    name: str = ""
    mount_path: str = ""


class VolumeDevice(_Read, frozen=True, rename="camel"):
    name: str = ""


class Resources(_Read, frozen=True, rename="camel"):
    requests: Quantities | None = None
    limits: Quantities | None = None


class Container(_Read, frozen=True, rename="camel"):
    name: str = ""
    env: list[EnvVar] | None = None
    env_from: list[EnvFrom] | None = None
    ports: list[ContainerPort] | None = None
    volume_mounts: list[VolumeMount] | None = None
    volume_devices: list[VolumeDevice] | None = None
    resources: Resources | None = None


class OwnerReference(_Read, frozen=True, rename="camel"):
    kind: str = ""


class Metadata(_Read, frozen=True, rename="camel"):
    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None


class OS(_Read, frozen=True, rename="camel"):
    name: str = ""


class Spec(_Read, frozen=True, rename="camel"):
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    ephemeral_containers: list[Container] | None = None
    volumes: list[dict[str, Any]] | None = None
    resources: Resources | None = None
    os: OS | None = None
    node_selector: dict[str, str] | None = None
    host_network: bool | None = None
    host_pid: bool | None = msgspec.field(default=None, name="hostPID")
    share_process_namespace: bool | None = None
    termination_grace_period_seconds: int | None = None
    restart_policy: str | None = None


class Pod(_Read, frozen=True, rename="camel"):
    """A pod, or the template inside a workload; read with `read`."""

    spec: Spec
    metadata: Metadata = Metadata()


GROUPS = ("containers", "initContainers", "ephemeralContainers")


def read(document: Mapping[str, Any]) -> Pod | Refusal:
    """Read a decoded pod; a field of a wrong type is a refusal that names its place."""
    given = {key: document[key] for key in ("metadata", "spec") if document.get(key) is not None}
    try:
        return msgspec.convert(given, Pod)
    except msgspec.ValidationError as error:
        return Refusal(
            tuple(_no_strings(given))
            or (f"the pod cannot be read: {_lowered(str(error))}{_hint(str(error))}",)
        )


def _no_strings(given: Mapping[str, Any]) -> Iterator[str]:
    metadata = mapping(given.get("metadata"))
    for part in ("annotation", "label"):
        for key, value in mapping(metadata.get(part + "s")).items():
            if isinstance(value, bool | int | float):
                kind = "boolean" if isinstance(value, bool) else "number"
                yield (
                    f"{part} {shown(key)} is {shown(value)} (a {kind}, not a string); allowed: a "
                    "string in quotes"
                )


def _hint(error: str) -> str:
    """Say what to do where YAML has read a word without quotes as something else."""
    other = re.match("Expected `str.*, got `(bool|int|float)`", error)
    return "; a word without quotes (such as `no` or `012`) is read so, quote it" if other else ""


def containers(pod: Pod) -> Iterator[tuple[str, int, Container]]:
    """Give every container with the list that it stands in (its JSON name) and its place there."""
    groups = (pod.spec.containers, pod.spec.init_containers, pod.spec.ephemeral_containers)
    for group, members in zip(GROUPS, groups, strict=True):
        for index, container in enumerate(members or ()):
            yield group, index, container


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
