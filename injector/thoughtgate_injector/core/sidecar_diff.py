"""Compares a pod's container and volumes with ours: those of our names may be somebody else's.

Between our review and the next one the API server writes its defaults into what we added, and its
plugins may change a few fields more. A reinvoked webhook must know its own work again, and a decoy
must not pass: so every field that we set must be as we set it, and a field that we did not set must
be one of the defaults below, with exactly that value.

Three things are let through beside the defaults, none of which loosens the gate:
- `imagePullPolicy: Always` (the plugin AlwaysPullImages);
- `ephemeral-storage` among the resources (the plugin LimitRanger);
- another number in `THOUGHTGATE_GRACE_SECONDS` (a webhook after us changed the pod's grace period).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from thoughtgate_injector.core import names, quantity
from thoughtgate_injector.core.refusal import shown

_Path = tuple[str, ...]
ANY: Final = "*"
_PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")

# Source: k8s.io/kubernetes/pkg/apis/core/v1/defaults.go. A list's place is ANY.
CONTAINER_DEFAULTS: Final[Mapping[_Path, object]] = {
    ("terminationMessagePath",): "/dev/termination-log",
    ("env", ANY, "valueFrom", "fieldRef", "apiVersion"): "v1",
    ("securityContext", "procMount"): "Default",
    **{(probe, "successThreshold"): 1 for probe in _PROBES},
    **{(probe, "failureThreshold"): 3 for probe in _PROBES},
    **{(probe, "timeoutSeconds"): 1 for probe in _PROBES},
    **{(probe, "initialDelaySeconds"): 0 for probe in _PROBES},
    **{(probe, "httpGet", "scheme"): "HTTP" for probe in _PROBES},
}
VOLUME_DEFAULTS: Final[Mapping[_Path, object]] = {
    ("configMap", "defaultMode"): 0o644,
    ("secret", "defaultMode"): 0o644,
    ("downwardAPI", "defaultMode"): 0o644,
    ("downwardAPI", "items", ANY, "fieldRef", "apiVersion"): "v1",
}


def container_difference(found: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """Say in words the first difference of a container from the one that we would add."""
    return _difference(_tolerated(found, ours), ours, CONTAINER_DEFAULTS, (), "")


def volume_difference(found: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """Say in words the first difference of a volume from the one that we would add."""
    return _difference(found, ours, VOLUME_DEFAULTS, (), "")


def _tolerated(found: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Replace differences that are allowed by our own value."""
    own = dict(found)
    if own.get("imagePullPolicy") == "Always":
        own["imagePullPolicy"] = ours["imagePullPolicy"]
    if isinstance(own.get("env"), list):
        own["env"] = [_own_grace(entry, ours) for entry in own["env"]]
    if isinstance(own.get("resources"), Mapping):
        own["resources"] = {
            section: _own_amounts(amounts, ours["resources"].get(section, {}))
            for section, amounts in own["resources"].items()
        }
    return own


def _own_grace(entry: object, ours: Mapping[str, Any]) -> object:
    if not isinstance(entry, Mapping) or entry.keys() != {"name", "value"}:
        return entry
    value = entry["value"]
    digits = isinstance(value, str) and value.isascii() and value.isdigit()
    if entry["name"] != names.ENV_GRACE or not digits:
        return entry
    return next(own for own in ours["env"] if own["name"] == names.ENV_GRACE)


def _own_amounts(amounts: object, ours: Mapping[str, str]) -> object:
    """Compare quantities by their amount: the API server writes `0.5` as `500m`."""
    if not isinstance(amounts, Mapping):
        return amounts
    return {
        kind: ours[kind] if kind in ours and _same_amount(value, ours[kind]) else value
        for kind, value in amounts.items()
        if kind != "ephemeral-storage"
    }


def _same_amount(found: object, ours: str) -> bool:
    """Compare in thousandths, to which the API server rounds up (SetDefaults_ResourceList)."""
    try:
        return isinstance(found, str | int | float) and (
            math.ceil(quantity.parse(found) * 1000) == math.ceil(quantity.parse(ours) * 1000)
        )
    except ValueError:
        return False


def _difference(
    found: object, ours: object, defaults: Mapping[_Path, object], path: _Path, place: str
) -> str | None:
    if isinstance(ours, Mapping) and isinstance(found, Mapping):
        return _mapping_difference(found, ours, defaults, path, place)
    if isinstance(ours, Sequence) and not isinstance(ours, str) and isinstance(found, list):
        if len(found) != len(ours):
            return f"`{place}` has {len(found)} entries where ours has {len(ours)}"
        for index, (one, other) in enumerate(zip(found, ours, strict=True)):
            inner = _difference(one, other, defaults, (*path, ANY), f"{place}[{index}]")
            if inner:
                return inner
        return None
    # In Python `True == 1`; in a pod they differ.
    if type(found) is type(ours) and found == ours:
        return None
    return f"`{place}` is {_brief(found)} where ours is {_brief(ours)}"


def _mapping_difference(
    found: Mapping[str, Any],
    ours: Mapping[str, Any],
    defaults: Mapping[_Path, object],
    path: _Path,
    place: str,
) -> str | None:
    inside = f"{place}." if place else ""
    for key, value in ours.items():
        if key not in found:
            return f"`{inside}{key}` is missing"
        inner = _difference(found[key], value, defaults, (*path, key), f"{inside}{key}")
        if inner:
            return inner
    for key, value in found.items():
        if key in ours or value is None or value in ([], {}, ""):
            continue
        default = defaults.get((*path, key))
        if default is None or type(value) is not type(default) or value != default:
            return f"`{inside}{_brief(key).strip('`')}` is set where ours has none"
    return None


def _brief(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    return shown(value)
