"""Bytes to a draft of the configuration, and a draft to a configuration or its mistakes.

Two steps, as the Cedar files that a draft names must be read in between, and their mistakes
belong in the same list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thoughtgate_proxy.core.config import tree
from thoughtgate_proxy.core.config.cedar import CedarPolicies, CedarText, load_policies
from thoughtgate_proxy.core.config.checks import check, resolved
from thoughtgate_proxy.core.config.convert import convert
from thoughtgate_proxy.core.config.mistakes import (
    ConfigNotKnown,
    ConfigRefused,
    Findings,
    Mistake,
    Place,
)
from thoughtgate_proxy.core.config.values import CedarSettings, Config
from thoughtgate_proxy.core.config.workflows import WorkflowTypes


@dataclass(frozen=True, slots=True)
class Draft:
    """What was read so far.

    `config` is None if there was no document to read; where `findings` has mistakes its parts may
    hold anything. `patterns` and `schema_file` say which Cedar files are to be read, with the
    places where they are named; `inline` and `schema_text` are those that stand in the document.
    """

    findings: Findings
    config: Config | None = None
    patterns: tuple[tuple[Place, str], ...] = ()
    schema_file: tuple[Place, str] | None = None
    inline: CedarText | None = None
    schema_text: CedarText | None = None


def draft(data: bytes, file: str, environ: Mapping[str, str] | None, types: WorkflowTypes) -> Draft:
    """Read `data`, whose name in messages is `file`. Never raises.

    `environ` is None where the configuration is judged apart from its pod; `types` are the
    channels that workflows may ask.
    """
    findings = Findings(file)
    node = tree.parse(data, findings)
    if node is None or _is_manifest(node, findings):
        return Draft(findings)
    config = convert(node, Config, environ, types, findings)
    check(config, environ, types, findings)
    if findings.spoiled(("cedar",)):
        return Draft(findings, config)
    cedar = config.cedar
    schema, schema_place = cedar.schema, ("cedar", "schema")
    if findings.spoiled(schema_place):
        schema = None
    in_place = schema is not None and any(sign in schema for sign in "{;\n")
    return Draft(
        findings,
        config,
        _patterns(cedar, findings),
        (schema_place, schema) if schema is not None and not in_place else None,
        _text(cedar.inline, ("cedar", "inline"), node, data, findings),
        _text(schema, schema_place, node, data, findings) if in_place else None,
    )


def finished(
    draft: Draft, texts: Sequence[CedarText], schema: CedarText | None
) -> tuple[Config, CedarPolicies, tuple[Mistake, ...]]:
    """The configuration, its policies and its warnings.

    `texts` are the Cedar files that the draft names; the draft's own texts come after them.
    Raises ConfigRefused with all mistakes, of the document first and then of the Cedar files;
    without a mistake but with a value that is not known here, ConfigNotKnown.
    """
    findings = draft.findings
    everything = [*texts, draft.inline] if draft.inline else list(texts)
    policies, broken = load_policies(everything, schema or draft.schema_text)
    if draft.config is None:
        raise ConfigRefused(findings.mistakes)
    place: Place = ("cedar",)
    if draft.config.cedar is not None and everything and not policies.policies and not broken:
        findings.mistake(place, "there is no policy in these files; required: at least one")
    asks = any('"Approve"' in policy.text for policy in policies.policies)
    if asks and not draft.config.approval:
        findings.warning(place, "a call that a policy lets be approved is denied: no workflow")
    if findings.mistakes or broken:
        freezes = draft.config.governance.freeze is True  # else it may be anything
        raise ConfigRefused([*sorted(findings.mistakes, key=_line), *broken], freezes=freezes)
    warnings = tuple(sorted(findings.warnings, key=_line))
    if findings.unknown:
        raise ConfigNotKnown(warnings)
    return resolved(draft.config), policies, warnings


def _line(mistake: Mistake) -> tuple[int, int]:
    return (mistake.mark.line, mistake.mark.column) if mistake.mark else (0, 0)


def _patterns(cedar: CedarSettings, findings: Findings) -> tuple[tuple[Place, str], ...]:
    places = [("cedar", "policies", index) for index in range(len(cedar.policies))]
    return tuple(
        (place, pattern)
        for place, pattern in zip(places, cedar.policies, strict=True)
        if not findings.spoiled(place)
    )


def _text(
    text: str | None, place: Place, node: tree.Node, data: bytes, findings: Findings
) -> CedarText | None:
    """A text that stands in the document, with where its first line is."""
    if text is None or findings.spoiled(place):
        return None
    for step in place:
        node = node.entries[str(step)][1] if isinstance(node, tree.Mapping) else node
    mark = findings.marks[place]
    if not (isinstance(node, tree.Scalar) and node.block):
        return CedarText(str(place[-1]), findings.file, text, mark.line, mark.column - 1)
    # A block's text begins in the line after its `|`, moved to the right.
    lines = data.decode().splitlines()
    first = next((line for line in text.splitlines() if line.strip()), "")
    raw = next((line for line in lines[mark.line :] if line.strip()), "")
    return CedarText(str(place[-1]), findings.file, text, mark.line + 1, max(raw.find(first), 0))


def _is_manifest(node: tree.Node, findings: Findings) -> bool:
    """A manifest around the configuration, a mistake that is easily made."""
    if not isinstance(node, tree.Mapping) or not {"apiVersion", "kind"} <= node.entries.keys():
        return False
    findings.mistake(
        (),
        "this is a Kubernetes manifest; allowed: the configuration itself, the text under "
        "`data: config.yaml: |` without its indentation",
    )
    return True
