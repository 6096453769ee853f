"""Bytes to a draft of the configuration, and a draft to a configuration or its mistakes.

Two steps, as the Cedar files that a draft names must be read in between, and their mistakes
belong in the same list.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from thoughtgate_proxy.core.config.convert import convert
from thoughtgate_proxy.core.config.mistakes import ConfigRefused, Findings
from thoughtgate_proxy.core.config.tree import parse
from thoughtgate_proxy.core.config.values import Config


@dataclass(frozen=True, slots=True)
class Draft:
    """What was read so far. `config` is None if there was no document to read, and where
    `findings` has mistakes its parts may hold anything.
    """

    config: Config | None
    findings: Findings


def draft(data: bytes, file: str, environ: Mapping[str, str]) -> Draft:
    """Read `data`, whose name in messages is `file`. Never raises."""
    findings = Findings(file)
    node = parse(data, findings)
    if node is None:
        return Draft(None, findings)
    return Draft(convert(node, Config, environ, findings), findings)


def finished(draft: Draft) -> Config:
    """The configuration. Raises ConfigRefused with all mistakes."""
    if draft.config is None or draft.findings.mistakes:
        raise ConfigRefused(draft.findings.mistakes)
    return draft.config
