"""Finds out who this pod is, once: a pod that is relabelled later keeps its principal."""

import json
import os
from pathlib import Path

from thoughtgate_proxy.core.policy import identity
from thoughtgate_proxy.core.policy.identity import Identity, IdentityRefused
from thoughtgate_proxy.runtime.settings import Settings

_FILE = "identity.json"


def establish(settings: Settings, words: str | None) -> Identity:
    """The identity in `words` (`--identity`), else the kept one, else that of the labels file.

    What the labels say is kept on the state volume at the pod's first start, so that a container
    that restarts takes the labels that the pod began with. Raises `IdentityRefused`.
    """
    if words is not None:
        return identity.from_words(words, settings.namespace, settings.pod)
    file = settings.state_dir / _FILE
    try:
        labels = _kept_labels(file)
    except FileNotFoundError:
        labels = identity.parse_labels(_read(settings.labels))
        found = identity.from_labels(labels, settings.namespace, settings.pod)
        _keep(file, labels)
        return found
    return identity.from_labels(labels, settings.namespace, settings.pod)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityRefused(
            f"the labels file `{path}` cannot be read ({_reason(error)}); in a pod the injector "
            "mounts it, elsewhere say who the agent is with `--identity team/app`"
        ) from error


def _kept_labels(path: Path) -> dict[str, str]:
    try:
        labels = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise IdentityRefused(f"the kept identity `{path}`: {_reason(error)}") from error
    if not isinstance(labels, dict):
        raise IdentityRefused(f"the kept identity `{path}` is not a JSON object")
    # Through the same narrow door as the labels file; a value with a line end is not one line.
    if identity.parse_labels("\n".join(f'{key}="{labels[key]}"' for key in labels)) != labels:
        raise IdentityRefused(f"the kept identity `{path}` holds what is no label")
    return labels


def _keep(path: Path, labels: dict[str, str]) -> None:
    new = path.with_suffix(f".{os.getpid()}")
    try:
        new.write_text(json.dumps(labels, sort_keys=True), "utf-8")
        new.replace(path)
    except OSError as error:
        raise IdentityRefused(
            f"the identity cannot be kept in `{path.parent}` ({_reason(error)}); "
            "THOUGHTGATE_STATE_DIR names a folder that can be written"
        ) from error


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
