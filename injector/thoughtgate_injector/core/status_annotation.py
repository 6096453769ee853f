"""The annotation `thoughtgate.io/status`: what was done to the pod, as JSON on one line."""

import json
from collections.abc import Mapping, Sequence

import msgspec

from thoughtgate_injector.core import names
from thoughtgate_injector.core.pod import Quantities
from thoughtgate_injector.core.refusal import Refusal, refused, shown


class StatusAnnotation(msgspec.Struct, frozen=True, rename="camel"):
    """A status that was read; a later version may have more fields."""

    image: str
    version: str
    annotations: tuple[str, ...] = ()
    env: dict[str, tuple[str, ...]] = {}
    no_proxy: dict[str, tuple[str, ...]] = {}
    resources: dict[str, Quantities] = {}
    """The pod-level amounts as they were, by section and kind."""
    volumes: tuple[str, ...] = ()


def read(status: str) -> StatusAnnotation | Refusal:
    """Read the annotation's text, which is not trusted: any author may have written it."""
    try:
        return msgspec.json.decode(status, type=StatusAnnotation)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return refused(f"annotation `{names.STATUS}` is {shown(status)}: {error}")


def status(
    version: str,
    *,
    image: str,
    native: bool,
    profile: str,
    annotations: Sequence[str],
    env: Mapping[str, Sequence[str]],
    no_proxy: Mapping[str, Sequence[str]],
    resources: Mapping[str, Quantities],
    volumes: Sequence[str],
) -> str:
    """Write what was added: enough to revert it, and to find outdated sidecars.

    `env` and `no_proxy` are names of variables by container: those added, and those that
    `localhost` was appended to; `resources` the pod-level amounts before they were raised.
    `version` is the injector's.
    """
    return json.dumps(
        {
            "annotations": list(annotations),
            "env": {name: list(variables) for name, variables in env.items()},
            "image": image,
            "native": native,
            "noProxy": {name: list(variables) for name, variables in no_proxy.items()},
            "profile": profile,
            **({"resources": resources} if resources else {}),
            "version": version,
            "volumes": list(volumes),
        },
        sort_keys=True,
        separators=(",", ":"),
    )
