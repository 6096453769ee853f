"""Loads the operator's settings from the folder of the mounted ConfigMap, or from its manifest."""

from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from thoughtgate_injector.core import settings
from thoughtgate_injector.core.refusal import Refusal, refused, shown
from thoughtgate_injector.core.settings import Settings


def load(path: Path) -> Settings | Refusal:
    """Read the settings; a refusal holds all mistakes."""
    try:
        texts = _folder(path) if path.is_dir() else _manifest(path.read_text(encoding="utf-8"))
    except OSError as error:
        return refused(f"{shown(path)} cannot be read: {(error.strerror or '').lower()}")
    except UnicodeDecodeError as error:
        return refused(f"{shown(path)} is not UTF-8: {error.reason}")
    return texts if isinstance(texts, Refusal) else settings.read(texts)


def _folder(path: Path) -> Mapping[str, str]:
    # `..data` and the like are the kubelet's own links.
    files = (file for file in sorted(path.iterdir()) if not file.name.startswith(".."))
    return {file.name: file.read_text(encoding="utf-8") for file in files}


def _manifest(text: str) -> Mapping[str, str] | Refusal:
    try:
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        return refused(f"the settings are no YAML: {shown(' '.join(str(error).split()))}")
    is_config_map = isinstance(document, Mapping) and document.get("kind") == "ConfigMap"
    data = document.get("data") or {} if is_config_map else None
    if not isinstance(data, Mapping) or not all(
        isinstance(part, str) for pair in data.items() for part in pair
    ):
        return refused("the settings: found no ConfigMap; allowed: one with texts in its `data`")
    return data
