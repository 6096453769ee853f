"""Reads the configuration and the Cedar files beside it from disk, as one consistent snapshot."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thoughtgate_proxy.core.config.cedar import CedarPolicies
from thoughtgate_proxy.core.config.mistakes import Mistake
from thoughtgate_proxy.core.config.reading import draft, finished
from thoughtgate_proxy.core.config.values import Config


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that was accepted. `digest`: SHA-256, in hex, of every byte that went in."""

    config: Config
    policies: CedarPolicies
    digest: str
    warnings: tuple[Mistake, ...]


def load(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read and check everything. Raises ConfigRefused with all mistakes."""
    data = path.read_bytes()
    reading = draft(data, path.name, environ)
    config = finished(reading)
    digest = hashlib.sha256(data).hexdigest()
    return Loaded(config, CedarPolicies(), digest, tuple(reading.findings.warnings))
