"""The commands that need no cluster: `inject`, `uninject` and `validate`."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from thoughtgate_injector import settings_file
from thoughtgate_injector.core.config_map import ConfigFiles
from thoughtgate_injector.core.refusal import Refusal, refused, shown
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry
from thoughtgate_injector.offline import rewrite
from thoughtgate_injector.offline.rewrite import Finding, RewriteResult
from thoughtgate_injector.webhook.config_check import CheckResult, ConfigChecker

NAMESPACES: Final = {
    "enabled": Entry.NAMESPACE,
    "true": Entry.NAMESPACE,
    "required": Entry.REQUIRED,
}
_CHECK_SECONDS: Final = 60.0  # no webhook's timeout is near, and the machine may be busy
_SUFFIXES: Final = (".yaml", ".yml", ".json")  # in a folder, as kubectl has it


@dataclass(frozen=True, slots=True)
class _InputFile:
    """One file; `front` goes before each line that is said of it, where there are several."""

    text: str
    front: str


def add_commands(commands: Any) -> None:
    """Add the commands to the parser's subcommands."""
    inject = commands.add_parser(
        "inject",
        help="print manifests with the sidecar in them, without a cluster",
        description=_inject.__doc__,
    )
    _add_files(inject)
    _add_settings(inject)
    inject.set_defaults(run=_inject)
    uninject = commands.add_parser(
        "uninject",
        help="print manifests without the injected sidecar, as they were before",
        description=_uninject.__doc__,
    )
    _add_files(uninject)
    uninject.set_defaults(run=_uninject)
    validate = commands.add_parser(
        "validate",
        help="say what the webhooks would say of manifests, without a cluster",
        description=_validate.__doc__,
    )
    _add_files(validate)
    _add_settings(validate)
    validate.set_defaults(run=_validate)


def fail(reasons: Sequence[str]) -> int:
    """Say the reasons on standard error, and give the exit code."""
    for reason in reasons:
        print(f"error: {reason}", file=sys.stderr)
    return 1


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--filename",
        metavar="FILE",
        required=True,
        action="append",
        help="YAML or JSON, or a folder of such files; `-` is stdin; may be given again",
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--settings",
        metavar="PATH",
        type=Path,
        help="the operator's settings: their ConfigMap in a file (default: as shipped)",
    )
    parser.add_argument(
        "--namespace-inject",
        choices=sorted(NAMESPACES),
        help="what the label thoughtgate.io/inject of the target namespace says (default: none)",
    )


def _inject(chosen: argparse.Namespace) -> int:
    """Print the manifests; where a pod is refused print nothing but the reasons, on stderr."""
    reviewer = _reviewer(chosen)
    if isinstance(reviewer, Refusal):
        return fail(reviewer.reasons)
    namespace = NAMESPACES.get(chosen.namespace_inject)
    return _rewrite(chosen.filename, lambda text: rewrite.inject(text, reviewer, namespace))


def _uninject(chosen: argparse.Namespace) -> int:
    """Print the manifests; where a record cannot be read print nothing but the reasons."""
    return _rewrite(chosen.filename, rewrite.uninject)


def _validate(chosen: argparse.Namespace) -> int:
    """Print a line for each pod, template and ConfigMap; exit 1 if one is refused or unchecked."""
    reviewer = _reviewer(chosen)
    if isinstance(reviewer, Refusal):
        return fail(reviewer.reasons)
    inputs = _inputs(chosen.filename)
    if isinstance(inputs, Refusal):
        return fail(inputs.reasons)
    code = 0
    for one in inputs:
        namespace = NAMESPACES.get(chosen.namespace_inject)
        findings = rewrite.validate(one.text, reviewer, _config_checked, namespace)
        if isinstance(findings, Refusal):
            code = fail([one.front + reason for reason in findings.reasons])
            continue
        for finding in findings:
            code = max(code, int(finding.refused))
            for line in _lines(finding):
                print(one.front + line)
    return code


def _lines(finding: Finding) -> Iterator[str]:
    for reason in finding.reasons or ("",):
        yield f"{finding.title}: {finding.outcome}{': ' if reason else ''}{reason}"
    for warning in finding.warnings:
        yield f"{finding.title}: warning: {warning}"


def _config_checked(files: ConfigFiles) -> Finding:
    checked = asyncio.run(ConfigChecker(limit=_CHECK_SECONDS).check(files))
    if not isinstance(checked, CheckResult):
        return Finding("", "not checked", (checked.reason,))
    if checked.mistakes:
        return Finding("", "refused", checked.mistakes)
    return Finding("", "accepted", warnings=checked.warnings)


def _rewrite(names: Sequence[str], change: Callable[[str], RewriteResult | Refusal]) -> int:
    inputs = _inputs(names)
    if isinstance(inputs, Refusal):
        return fail(inputs.reasons)
    out: list[str] = []
    warnings: list[str] = []
    reasons: list[str] = []
    for one in inputs:
        result = change(one.text)
        if isinstance(result, Refusal):
            reasons += [one.front + reason for reason in result.reasons]
        else:
            out.append(result.text)
            warnings += [one.front + warning for warning in result.warnings]
    if reasons:
        return fail(reasons)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    sys.stdout.buffer.write(_joined(out).encode())
    sys.stdout.buffer.flush()
    return 0


def _joined(texts: Sequence[str]) -> str:
    """Put files behind each other, each a document of its own; one alone keeps every byte."""
    joined = ""
    for text in texts:
        if joined and not joined.endswith("\n"):
            joined += "\n"
        joined += f"---\n{text}" if joined and not text.startswith("---") else text
    return joined


def _reviewer(chosen: argparse.Namespace) -> Reviewer | Refusal:
    found = settings_file.load(chosen.settings) if chosen.settings is not None else Settings()
    return found if isinstance(found, Refusal) else Reviewer(found, version("thoughtgate"))


def _inputs(names: Sequence[str]) -> list[_InputFile] | Refusal:
    files: list[str] = []
    for name in names:
        path = Path(name)
        if name != "-" and path.is_dir():
            inside = sorted(str(each) for each in path.iterdir() if each.suffix in _SUFFIXES)
            if not inside:
                return refused(f"{shown(name)} holds no file that ends in .yaml, .yml or .json")
            files += inside
        else:
            files.append(name)
    found: list[_InputFile] = []
    for file in files:
        text = _text(file)
        if isinstance(text, Refusal):
            return text
        found.append(_InputFile(text, f"{file}: " if len(files) > 1 else ""))
    return found


def _text(name: str) -> str | Refusal:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return content.decode()
    except OSError as error:
        return refused(f"{shown(name)} cannot be read: {(error.strerror or '').lower()}")
    except UnicodeDecodeError as error:
        return refused(f"{shown(name)} is not UTF-8: {error.reason}")
