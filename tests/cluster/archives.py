"""Writes a container image of one layer, without any container tool."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write(where: Path, name: str, layer: Path, config: Mapping[str, object]) -> None:
    """An archive as `docker save` writes it, of a layer (a tar file) and what to run in it."""
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    image = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "tests/cluster/images.py"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(where, "w") as archive:
        archive.add(layer, "layer.tar")
        for file_name, content in (("config.json", image), ("manifest.json", manifest)):
            data = json.dumps(content).encode()
            entry = tarfile.TarInfo(file_name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
