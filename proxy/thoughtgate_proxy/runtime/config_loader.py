"""Reads the configuration and the Cedar files beside it from disk, as one consistent snapshot."""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thoughtgate_proxy.core.config.cedar import CedarPolicies, CedarText
from thoughtgate_proxy.core.config.mistakes import (
    ConfigNotKnown,
    ConfigRefused,
    Findings,
    Mistake,
    Place,
    found,
)
from thoughtgate_proxy.core.config.reading import draft, finished
from thoughtgate_proxy.core.config.values import Config
from thoughtgate_proxy.core.config.workflows import WorkflowTypes

MAX_FILE_BYTES = 1 << 20
MAX_CEDAR_BYTES = 4 << 20
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that was accepted.

    `digest`: SHA-256, in hex, of all bytes that went in: the file, the Cedar files with their
    names, the schema. Values of variables are not part of it. `lines`: where each place of the
    file is written, as `FILE:LINE`.
    """

    config: Config
    policies: CedarPolicies
    digest: str
    warnings: tuple[Mistake, ...]
    lines: Mapping[Place, str]


class _FileUnreadable(Exception):
    """Why a file cannot be read: one line."""


def load(path: Path, environ: Mapping[str, str] | None, channels: WorkflowTypes) -> Loaded:
    """Read and check everything. Raises ConfigRefused with all mistakes.

    `channels` are those that workflows may ask.
    `environ` None: apart from the pod. Variables without a default and files outside of the
    configuration's folder are not known then; if nothing else is wrong ConfigNotKnown is raised.

    The kubelet swaps a ConfigMap's files by turning the symlink `..data` to a new folder. The
    link is followed once, so all files are of one version; if it turned meanwhile, what was read
    may be half gone, and is read again.
    """
    for _ in range(_ATTEMPTS):
        before = _version(path)
        try:
            loaded: Loaded | ConfigRefused | ConfigNotKnown = _load_once(
                path, before, environ, channels
            )
        except (ConfigRefused, ConfigNotKnown) as raised:
            loaded = raised
        if _version(path) == before:
            break
    if not isinstance(loaded, Loaded):
        raise loaded
    return loaded


def load_text(
    data: bytes,
    name: str,
    folder: Path,
    environ: Mapping[str, str] | None,
    channels: WorkflowTypes,
) -> Loaded:
    """As `load`, with the file's bytes at hand; relative paths start at `folder`."""
    return _load(data, name, folder, (folder,), environ, channels)


def _version(path: Path) -> Path | None:
    """The folder that the kubelet's link points to now, or None outside of such a volume."""
    link = path.parent / "..data"
    try:
        return path.parent / link.readlink()
    except OSError:
        return None


def _load_once(
    path: Path,
    version: Path | None,
    environ: Mapping[str, str] | None,
    channels: WorkflowTypes,
) -> Loaded:
    # Where another volume is mounted inside this one, its files are not in the version's folder.
    folders = (version, path.parent) if version else (path.parent,)
    inside = version / path.name if version else path
    try:
        data = _read(inside if os.path.lexists(inside) else path)
    except _FileUnreadable as mistake:
        raise ConfigRefused(
            [Mistake(str(path), None, "", str(mistake), "cannot be read")]
        ) from mistake
    return _load(data, str(path), path.parent, folders, environ, channels)


def _load(
    data: bytes,
    name: str,
    folder: Path,
    folders: tuple[Path, ...],
    environ: Mapping[str, str] | None,
    channels: WorkflowTypes,
) -> Loaded:
    reading = draft(data, name, environ, channels)
    digest = hashlib.sha256(data)
    texts: list[CedarText] = []
    read: set[str] = set()
    left = MAX_CEDAR_BYTES
    for place, pattern in reading.patterns:
        if environ is None and _outside(pattern, place, reading.findings):
            continue
        for shown, file in _matching(pattern, folders, place, reading.findings):
            if shown in read:
                continue  # two globs may well meet
            read.add(shown)
            raw = _cedar_bytes(file, shown, place, reading.findings)
            if raw is None:
                continue
            left -= len(raw)
            if left < 0:
                reading.findings.mistake(
                    place, f"more than {MAX_CEDAR_BYTES} bytes of policies; {found(shown)} is over"
                )
                break
            digest.update(b"\0%b\0%d\0%b" % (os.fsencode(shown), len(raw), raw))
            texts.append(CedarText(shown, str(folder / shown), raw.decode()))
    schema = None
    if reading.schema_file:
        place, pattern = reading.schema_file
        outside = environ is None and _outside(pattern, place, reading.findings)
        files = [] if outside else _matching(pattern, folders, place, reading.findings)
        for shown, file in files[:1]:
            raw = _cedar_bytes(file, shown, place, reading.findings)
            if raw is not None:
                digest.update(b"\0schema\0%b\0%b" % (os.fsencode(shown), raw))
                schema = CedarText(shown, str(folder / shown), raw.decode())
    config, policies, warnings = finished(reading, texts, schema)
    lines = {place: f"{name}:{mark.line}" for place, mark in reading.findings.marks.items()}
    return Loaded(config, policies, digest.hexdigest(), warnings, lines)


def _outside(pattern: str, place: Place, findings: Findings) -> bool:
    """Whether a path leaves the folder; noted, as such a file is not read apart from the pod.

    INVARIANT: who checks somebody else's configuration reads none of its own files for it, whose
    text could stand in a mistake's message.
    """
    path = Path(pattern)
    if not path.is_absolute() and ".." not in path.parts:
        return False
    findings.not_known(
        place, f"{found(pattern)} lies outside of the configuration's folder: not checked here"
    )
    return True


def _matching(
    pattern: str, folders: tuple[Path, ...], place: Place, findings: Findings
) -> list[tuple[str, Path]]:
    """The files that a path or glob names, sorted, each with the name to show.

    Absolute paths and `..` are allowed: who writes the configuration decides anyway.
    """
    if bad := re.search(r"\*\*|[\[\]{}\\]", pattern):
        findings.mistake(
            place, f"found {found(pattern)}; allowed: a path with `*` and `?`, without `{bad[0]}`"
        )
        return []
    if ".." in Path(pattern).parts:
        folders = folders[-1:]  # the version's folder lies one deeper than it seems
    if not re.search(r"[*?]", pattern):
        present = [folder / pattern for folder in folders if os.path.lexists(folder / pattern)]
        return [(pattern, (present or [folders[0] / pattern])[0])]
    root = Path(pattern).anchor
    for base in (Path(root),) if root else folders:
        try:
            files = [file for file in base.glob(pattern.removeprefix(root)) if _meant(file, base)]
        except OSError as error:
            findings.mistake(place, f"{found(pattern)}: {_reason(error)}")
            return []
        if files:
            return sorted((str(file if root else file.relative_to(base)), file) for file in files)
    findings.mistake(
        place, f"found {found(pattern)}, which matches no file; required: at least one"
    )
    return []


def _meant(file: Path, base: Path) -> bool:
    """Whether a glob's match was put there by a person, not by an editor or the kubelet.

    The kubelet's own folders are called `..data` and `..2026_10_18_...`.
    """
    above = file.relative_to(base).parent.parts
    versions = any(part.startswith("..") and part != ".." for part in above)
    return not versions and not file.name.startswith(".")


def _cedar_bytes(file: Path, shown: str, place: Place, findings: Findings) -> bytes | None:
    """A Cedar file's bytes, or None after noting why."""
    try:
        raw = _read(file)
        raw.decode()
    except _FileUnreadable as mistake:
        findings.mistake(place, f"{found(shown)}: {mistake}")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        findings.mistake(place, f"{found(shown)}: line {line} is not UTF-8")
    else:
        return raw
    return None


def _read(path: Path) -> bytes:
    """A regular file's bytes. Raises _FileUnreadable."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _FileUnreadable("this is a folder; allowed: a file")
        if not stat.S_ISREG(mode):  # opening a pipe could wait for ever
            raise _FileUnreadable("not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise _FileUnreadable("no such file") from error
    except OSError as error:
        raise _FileUnreadable(_reason(error)) from error
    if len(data) > MAX_FILE_BYTES:
        raise _FileUnreadable(f"larger than {MAX_FILE_BYTES} bytes")
    return data


def _reason(error: OSError) -> str:
    return f"cannot be read: {(error.strerror or str(error)).lower()}"
