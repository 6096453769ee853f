"""A ConfigMap `thoughtgate-config` as the files that a sidecar would find in it."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from thoughtgate_injector.core import names
from thoughtgate_injector.core.refusal import Refusal, listed, refused, shown
from thoughtgate_injector.core.untyped import mapping

# Source: k8s.io/apimachinery, validation.IsConfigMapKey; a file's name, and no way out of a folder.
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")


@dataclass(frozen=True, slots=True)
class ConfigFiles:
    """The configuration, and the other files by name."""

    config: bytes
    beside: Mapping[str, bytes]


def is_config(document: Mapping[str, Any]) -> bool:
    """Tell whether an object is a ConfigMap that asks to be checked by its label."""
    labels = mapping(mapping(document.get("metadata")).get("labels"))
    return document.get("kind") == "ConfigMap" and labels.get(names.CONFIG_LABEL) == "true"


def read(document: Mapping[str, Any]) -> ConfigFiles | Refusal:
    """Take the files out of a decoded ConfigMap."""
    files: dict[str, bytes] = {}
    for section, decode in (("data", _text), ("binaryData", _binary)):
        entries = document.get(section)
        if entries is None:
            continue
        if not isinstance(entries, Mapping):
            return refused(f"`{section}` is no mapping")
        for key, value in entries.items():
            content = decode(value)
            if not isinstance(key, str) or not _KEY.fullmatch(key) or key.startswith(".."):
                return refused(f"`{section}` has the key {shown(key)}, which names no file")
            if content is None or key == ".":
                return refused(f"{shown(f'{section}.{key}')} cannot be read")
            files[key] = content
    config = files.pop(names.CONFIG_KEY, None)
    if config is None:
        found = f"found {listed(sorted(files))}" if files else "found no key at all"
        return refused(f"the key `{names.CONFIG_KEY}` is missing, which the sidecar reads; {found}")
    return ConfigFiles(config, files)


def _text(value: object) -> bytes | None:
    try:
        return value.encode() if isinstance(value, str) else None
    except UnicodeEncodeError:  # a lone surrogate, from JSON
        return None


def _binary(value: object) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        return None
