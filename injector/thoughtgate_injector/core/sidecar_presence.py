"""Tells whether a pod already has our sidecar: no, all of it, changed, or what is not ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thoughtgate_injector.core import names, status_annotation
from thoughtgate_injector.core import sidecar as sidecars
from thoughtgate_injector.core.pod import Pod, containers
from thoughtgate_injector.core.refusal import Refusal, refused, shown
from thoughtgate_injector.core.sidecar import Sidecar
from thoughtgate_injector.core.sidecar_diff import container_difference, volume_difference


@dataclass(frozen=True, slots=True)
class Changed:
    """Our container, which another webhook has changed after us; `group` is the list it is in."""

    group: str
    index: int
    why: str


def judge(
    document: Mapping[str, Any], pod: Pod, ours: Sequence[Sidecar], *, native: bool
) -> bool | Changed | Refusal:
    """Tell whether the pod has exactly one of the sidecars `ours`, with its volumes.

    False: it has no container of our name, and no volume of our names that is another's.
    """
    places = [
        (group, index) for group, index, one in containers(pod) if one.name == names.CONTAINER
    ]
    config_map = ours[0].config_map if ours else names.CONFIG_MAP
    volumes, strange = _volumes(pod, config_map)
    if strange:
        return Refusal(tuple(strange))
    if not places:
        return False
    wrong = _misplaced(places, native=native) or _not_ours(document, places[0], ours)
    missing = [name for name in sidecars.VOLUMES if name not in volumes]
    if not wrong and missing:
        wrong = f"the volume {shown(missing[0])} is missing"
    if not wrong:
        return True
    if len(places) == 1 and _was_injected(document, pod, places[0]):
        return Changed(*places[0], wrong)
    return refused(
        f"the pod has a container `{names.CONTAINER}` that is not exactly the injected one: "
        f"{wrong}; drop one of the two, that container or `{names.INJECT}`"
    )


def _was_injected(document: Mapping[str, Any], pod: Pod, place: tuple[str, int]) -> bool:
    """Tell a container of ours from one that was written by hand: by our status and our mounts.

    Whoever forges both has our container written over his.
    """
    group, index = place
    status = (pod.metadata.annotations or {}).get(names.STATUS)
    if status is None or isinstance(status_annotation.read(status), Refusal):
        return False
    mounts = document["spec"][group][index].get("volumeMounts")
    there = {
        (mount.get("name"), mount.get("mountPath"))
        for mount in (mounts if isinstance(mounts, list) else ())
        if isinstance(mount, Mapping)
    }
    return all((name, path) in there for name, path, _ in sidecars.MOUNTS)


def _misplaced(places: Sequence[tuple[str, int]], *, native: bool) -> str | None:
    if len(places) > 1:
        return f"there are {len(places)} of that name"
    wanted = "initContainers" if native else "containers"
    group = places[0][0]
    return None if group == wanted else f"it stands in `{group}` where ours stands in `{wanted}`"


def _not_ours(
    document: Mapping[str, Any], place: tuple[str, int], ours: Sequence[Sidecar]
) -> str | None:
    group, index = place
    found = document["spec"][group][index]
    differences = [container_difference(found, sidecars.container(one)) for one in ours]
    if not differences:
        return "the options of the pod fit no sidecar"
    return None if None in differences else differences[0]


def _volumes(pod: Pod, config_map: str) -> tuple[set[str], list[str]]:
    """Give the names of our volumes in the pod, and messages about those that are not ours."""
    ours = sidecars.volumes(config_map)
    there: set[str] = set()
    strange = []
    for volume in pod.spec.volumes or ():
        name = volume.get("name")
        if not isinstance(name, str) or name not in ours:
            continue
        difference = "it is there twice" if name in there else volume_difference(volume, ours[name])
        there.add(name)
        if difference:
            strange.append(
                f"the volume {shown(name)} of the pod is not the sidecar's: {difference}; rename it"
            )
    return there, strange
