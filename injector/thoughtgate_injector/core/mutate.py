"""Writes a verdict as a JSON patch: targeted operations, no more than the contract lists.

INVARIANT: operations on a list's members come before the one that shifts them, since each index in
a patch is read against the document as the earlier operations have left it (RFC 6902, section 3).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thoughtgate_injector.core import names, options, status_annotation
from thoughtgate_injector.core import sidecar as sidecars
from thoughtgate_injector.core.patch import Operation, add, remove
from thoughtgate_injector.core.pod import Container, EnvVar, Pod
from thoughtgate_injector.core.refusal import listed, shown
from thoughtgate_injector.core.resources import amounts, raised
from thoughtgate_injector.core.sidecar import Sidecar
from thoughtgate_injector.core.untyped import mapping
from thoughtgate_injector.core.verdict import Injection, Restoration

# A program reads one of each pair; which one differs from program to program.
_PROXIES = {
    "HTTP_PROXY": "NO_PROXY",
    "ALL_PROXY": "NO_PROXY",
    "http_proxy": "no_proxy",
    "all_proxy": "no_proxy",
}
_EXCEPTIONS = ("NO_PROXY", "no_proxy")
_LOCALHOST = "localhost"


@dataclass(frozen=True, slots=True)
class Mutation:
    """The patch, and warnings for the pod's owner."""

    operations: tuple[Operation, ...]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Gathered:
    """The changes to one pod so far."""

    operations: list[Operation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    env: dict[str, list[str]] = field(default_factory=dict)
    no_proxy: dict[str, list[str]] = field(default_factory=dict)


def mutation(document: Mapping[str, Any], inject: Injection, version: str) -> Mutation:
    """Give the operations that put the sidecar into `document`, the pod of the verdict.

    `version` is the injector's own, for the status annotation.
    """
    changes = _Gathered(warnings=list(misspelt(document)))
    for group, index, container in inject.others:
        if container.name not in inject.options.exclude_containers:
            _environment(("spec", group, index, "env"), container, changes)
    changes.operations += raised(inject.pod, inject.sidecar.share)
    added = _volumes(inject.pod, inject.sidecar, changes)
    _annotations(document, inject, changes, added, version)
    _container(inject.pod, inject.sidecar, changes)
    return Mutation(tuple(changes.operations), tuple(changes.warnings))


def restoration(restore: Restoration) -> Mutation:
    """Give the operations that write our container back as it was, with its volumes.

    Nothing is merged: what another webhook wants in every container it does not get in ours. All
    that it did to the other containers and to the pod stays.
    """
    changes = _Gathered()
    _volumes(restore.pod, restore.sidecar, changes)
    changed = restore.changed
    place = ("spec", changed.group, changed.index)
    changes.operations.append(remove(place))
    if changed.group == _group(restore.sidecar):
        changes.operations.append(add(place, sidecars.container(restore.sidecar)))
    else:
        _container(restore.pod, restore.sidecar, changes)
    return Mutation(tuple(changes.operations), ())


def misspelt(document: Mapping[str, Any]) -> Iterator[str]:
    """Warn of annotations and labels of a decoded pod whose `thoughtgate.io` is misspelt."""
    metadata = mapping(document.get("metadata"))
    for part in ("annotation", "label"):
        for key in mapping(metadata.get(f"{part}s")):
            if isinstance(key, str) and (meant := options.near_miss(key)):
                yield (
                    f"{part} {shown(key)} is no key of ThoughtGate and does nothing; the nearest "
                    f"one is {shown(meant)}"
                )


def _environment(path: tuple[str | int, ...], container: Container, changes: _Gathered) -> None:
    there: dict[str, tuple[int, EnvVar]] = {
        variable.name: (index, variable) for index, variable in enumerate(container.env or ())
    }
    new: list[dict[str, str]] = []
    proxied = dict.fromkeys(no for proxy, no in _PROXIES.items() if _is_set(there.get(proxy)))
    if proxied:
        exceptions = [name for name in _EXCEPTIONS if name in there]
        for name in exceptions:
            _add_localhost(path, container, *there[name], changes)
        # Only where there is none: a second spelling would hide the one that is there.
        if not exceptions:
            new += [{"name": name, "value": _LOCALHOST} for name in proxied]
    # First, since `$(MCP_SERVER_URL)` is expanded only in the variables behind it.
    first = (
        [] if names.AGENT_ENV in there else [{"name": names.AGENT_ENV, "value": names.AGENT_URL}]
    )
    added = [variable["name"] for variable in first + new]
    changes.warnings += _unseen(container, there.keys(), added)
    if not added:
        return
    changes.env[container.name] = added
    if container.env is None:
        changes.operations.append(add(path, first + new))
    else:
        changes.operations += [add((*path, "-"), variable) for variable in new]
        changes.operations += [add((*path, 0), variable) for variable in first]


def _unseen(container: Container, there: Collection[str], added: Sequence[str]) -> Iterator[str]:
    """Warn of variables that may come from a ConfigMap or a Secret, which is not read here."""

    def may_come(name: str) -> bool:
        return name not in there and any(
            name.startswith(source.prefix or "") for source in container.env_from or ()
        )

    front = f"container {shown(container.name)} takes variables from `envFrom`, unseen here"
    hidden = [name for name in added if may_come(name)]
    if hidden:
        yield f"{front}: {listed(hidden)} among them would be hidden by ours; set it in `env`"
    if any(map(may_come, _PROXIES)) and not {*there, *added} & set(_EXCEPTIONS):
        yield (
            f"{front}: beside a proxy among them (`HTTP_PROXY`, `ALL_PROXY`) `{_LOCALHOST}` must "
            "stand in their `NO_PROXY`"
        )


def _is_set(variable: tuple[int, EnvVar] | None) -> bool:
    return variable is not None and bool(variable[1].value or variable[1].value_from)


def _add_localhost(
    path: tuple[str | int, ...],
    container: Container,
    index: int,
    variable: EnvVar,
    changes: _Gathered,
) -> None:
    if variable.value_from:
        # Its value is not ours to read, and nothing can be appended to it.
        changes.warnings.append(
            f"container {shown(container.name)} takes {shown(variable.name)} from elsewhere; "
            f"`{_LOCALHOST}` must stand in it, or its calls go to the forward proxy"
        )
        return
    hosts = [host.strip() for host in (variable.value or "").split(",") if host.strip()]
    if _LOCALHOST in hosts or "*" in hosts:
        return
    value = ",".join(
        [variable.value.rstrip(", "), _LOCALHOST] if variable.value and hosts else [_LOCALHOST]
    )
    changes.operations.append(add((*path, index, "value"), value))
    changes.no_proxy.setdefault(container.name, []).append(variable.name)


def _volumes(pod: Pod, sidecar: Sidecar, changes: _Gathered) -> list[str]:
    there = {volume.get("name") for volume in pod.spec.volumes or ()}
    ours = sidecars.volumes(sidecar.config_map)
    new = [volume for name, volume in ours.items() if name not in there]
    if pod.spec.volumes is None:
        changes.operations.append(add(("spec", "volumes"), new))
    else:
        changes.operations += [add(("spec", "volumes", "-"), volume) for volume in new]
    return [str(volume["name"]) for volume in new]


def _annotations(
    document: Mapping[str, Any],
    inject: Injection,
    changes: _Gathered,
    volumes: list[str],
    version: str,
) -> None:
    there = inject.pod.metadata.annotations or {}
    new: dict[str, str] = {}
    # All or none: our path beside the agent's own port would scrape the wrong thing.
    if not any(key.startswith(names.PROMETHEUS_PREFIX) for key in there):
        new["prometheus.io/scrape"] = "true"
        new["prometheus.io/port"] = str(names.ADMIN_PORT)
        new["prometheus.io/path"] = names.METRICS_PATH
    agents = [container for group, _, container in inject.others if group == "containers"]
    if agents and names.DEFAULT_CONTAINER not in there:
        new[names.DEFAULT_CONTAINER] = agents[0].name
    new[names.STATUS] = status_annotation.status(
        version,
        image=inject.sidecar.image,
        native=inject.sidecar.native,
        profile=inject.options.profile.value,
        annotations=sorted(new),
        env=changes.env,
        no_proxy=changes.no_proxy,
        resources=amounts(inject.pod.spec.resources),
        volumes=volumes,
    )
    if document.get("metadata") is None:
        changes.operations.append(add(("metadata",), {"annotations": new}))
    elif inject.pod.metadata.annotations is None:
        changes.operations.append(add(("metadata", "annotations"), new))
    else:
        changes.operations += [
            add(("metadata", "annotations", key), value) for key, value in new.items()
        ]


def _group(sidecar: Sidecar) -> str:
    return "initContainers" if sidecar.native else "containers"


def _container(pod: Pod, sidecar: Sidecar, changes: _Gathered) -> None:
    ours = sidecars.container(sidecar)
    members = pod.spec.init_containers if sidecar.native else pod.spec.containers
    if members is None:
        changes.operations.append(add(("spec", _group(sidecar)), [ours]))
    else:
        # A native sidecar goes first, so that the pod's own init containers can call through it.
        changes.operations.append(
            add(("spec", _group(sidecar), 0 if sidecar.native else "-"), ours)
        )
