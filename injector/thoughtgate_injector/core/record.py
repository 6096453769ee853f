"""The annotation `thoughtgate.io/status`: what was done to the pod, as JSON on one line."""

import json
from collections.abc import Mapping, Sequence

from thoughtgate_injector.core.verdict import Inject


def status(
    inject: Inject,
    version: str,
    *,
    annotations: Sequence[str],
    env: Mapping[str, Sequence[str]],
    no_proxy: Mapping[str, Sequence[str]],
    volumes: Sequence[str],
) -> str:
    """Write what was added: enough to take it out again, and to find old sidecars.

    `env` and `no_proxy` are names of variables by container: those added, and those that
    `localhost` was appended to. `version` is the injector's.
    """
    return json.dumps(
        {
            "annotations": list(annotations),
            "env": {name: list(variables) for name, variables in env.items()},
            "image": inject.sidecar.image,
            "native": inject.sidecar.native,
            "noProxy": {name: list(variables) for name, variables in no_proxy.items()},
            "profile": inject.options.profile.value,
            "version": version,
            "volumes": list(volumes),
        },
        sort_keys=True,
        separators=(",", ":"),
    )
