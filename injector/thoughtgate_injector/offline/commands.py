"""The commands that need no cluster; each gives its exit code."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from thoughtgate_injector import settings_file
from thoughtgate_injector.console import fail
from thoughtgate_injector.core.config_map import ConfigFiles
from thoughtgate_injector.core.refusal import Refusal, refused, shown
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry
from thoughtgate_injector.offline import rewrite
from thoughtgate_injector.offline.rewrite import Finding, RewriteResult
from thoughtgate_injector.webhook.config_check import CheckResult, ConfigChecker

_CHECK_SECONDS: Final = 60.0  # no webhook's timeout is near, and the machine may be busy
_SUFFIXES: Final = (".yaml", ".yml", ".json")  # in a folder, as kubectl has it


@dataclass(frozen=True, slots=True)
class _InputFile:
    """One file; `front` goes before each line that is said of it, where there are several."""

    text: str
    front: str


def inject(
    files: Sequence[str], settings: Path | None, namespace: Entry | None, *, strict: bool
) -> int:
    """Print the manifests with the sidecar in them; `strict`: only if nothing is left out."""
    reviewer = _reviewer(settings)
    if isinstance(reviewer, Refusal):
        return fail(reviewer.reasons)
    return _rewrite(files, lambda text: rewrite.inject(text, reviewer, namespace, strict=strict))


def uninject(files: Sequence[str]) -> int:
    """Print the manifests without the injected sidecar."""
    return _rewrite(files, rewrite.uninject)


def validate(
    files: Sequence[str], settings: Path | None, namespace: Entry | None, *, strict: bool
) -> int:
    """Print a line for each object that a webhook would look at."""
    reviewer = _reviewer(settings)
    if isinstance(reviewer, Refusal):
        return fail(reviewer.reasons)
    inputs = _inputs(files)
    if isinstance(inputs, Refusal):
        return fail(inputs.reasons)
    code = 0
    for one in inputs:
        findings = rewrite.validate(one.text, reviewer, _config_checked, namespace)
        if isinstance(findings, Refusal):
            code = fail([one.front + reason for reason in findings.reasons])
            continue
        for finding in findings:
            code = max(code, int(finding.refused or (strict and finding.left)))
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
    """Concatenate files as separate documents; a single file keeps every byte."""
    joined = ""
    for text in texts:
        if joined and not joined.endswith("\n"):
            joined += "\n"
        joined += f"---\n{text}" if joined and not text.startswith("---") else text
    return joined


def _reviewer(settings: Path | None) -> Reviewer | Refusal:
    found = Settings() if settings is None else settings_file.load(settings)
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
