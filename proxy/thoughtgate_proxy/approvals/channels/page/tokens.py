"""Who may decide on the page: the file of `name:token` lines, read again when it changes.

Nothing here quotes a token: a mistake names the file, the line and what is wrong with it.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thoughtgate_proxy.core.config.values import Adapter, Workflow
from thoughtgate_proxy.core.config.workflows import PAGE_APPROVER
from thoughtgate_proxy.runtime.file_stamp import FileStamp

SHORTEST: Final = 20
"""The agent shares the network namespace and can guess: a token is made, not thought up."""
_LONGEST = 200
_DISTINCT = 8
_MOST_BYTES = 1 << 16
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Approver:
    """One line of the file; `mark` is SHA-256 of the token, which itself is not kept."""

    name: str
    mark: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says: the lines that are good, and one line of words for each that is not."""

    approvers: tuple[Approver, ...]
    mistakes: tuple[str, ...] = ()


def parse(text: str) -> Reading:
    """Read `name:token` lines; empty lines and those that begin with `#` say nothing.

    A name may have two tokens, as while one is replaced; a token has one name, else one person
    would count as two. So does a name that differs from another by case alone.
    """
    found: dict[int, Approver] = {}
    mistakes: list[str] = []
    owners: dict[bytes, int] = {}
    spelt: dict[str, tuple[str, int]] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, _, token = (part.strip() for part in line.partition(":"))
        wrong = _wrong(name, token)
        approver = Approver(name, hashlib.sha256(token.encode()).digest())
        first = spelt.setdefault(name.casefold(), (name, number))
        if not wrong and first[0] != name:
            wrong = f"the name is that of line {first[1]} in other letters' case"
        if not wrong and (owner := owners.setdefault(approver.mark, number)) != number:
            # Whose it is cannot be known, so it is nobody's.
            found.pop(owner, None)
            wrong = f"the token is that of line {owner}; neither counts"
        if wrong:
            mistakes.append(f"line {number}: {wrong}")
        else:
            found[number] = approver
    if not found and not mistakes:
        mistakes.append("no line `name:token` in it")
    return Reading(tuple(found.values()), tuple(mistakes))


def _wrong(name: str, token: str) -> str | None:
    # Without a colon the whole line may be a token, so that the name is not quoted either.
    if not re.fullmatch(PAGE_APPROVER, name) or not token:
        return (
            "not `name:token`; allowed in a name: 1 to 64 of the characters `A-Z a-z 0-9 . _ @ + -`"
        )
    if not _TOKEN.fullmatch(token):
        return "the token has other than visible ASCII characters"
    if not SHORTEST <= len(token) <= _LONGEST or len(set(token)) < _DISTINCT:
        return (
            f"the token has {len(token)} characters, {len(set(token))} of them different; allowed: "
            f"{SHORTEST} to {_LONGEST}, {_DISTINCT} of them different (`openssl rand -hex 20`)"
        )
    return None


def read(path: Path) -> Reading:
    """Read the file; one that cannot be read has no approvers and one mistake."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            return Reading((), (f"more than {_MOST_BYTES} bytes",))
        return parse(content.decode())
    except UnicodeDecodeError:
        return Reading((), ("not UTF-8",))
    except OSError as error:
        return Reading((), ((error.strerror or str(error)).lower(),))


class Approvers:
    """The approvers as the file now has them."""

    def __init__(self, path: Path, changed: Callable[[Reading], None]) -> None:
        """`changed` is told of each new reading but the first, which is in `reading`."""
        self._path, self._changed = path, changed
        self._stamp = FileStamp.of(path)
        self.reading = read(path)

    def named(self, token: str) -> Approver | None:
        """Whose token that is. All are compared, so that the time taken tells nothing."""
        mark = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = None
        for approver in self._fresh().approvers:
            if hmac.compare_digest(approver.mark, mark):
                found = approver
        return found

    def stands(self, approver: Approver) -> bool:
        """Whether the file still has that name with that token."""
        return approver in self._fresh().approvers

    @property
    def names(self) -> frozenset[str]:
        """All who have a token."""
        return frozenset(approver.name for approver in self._fresh().approvers)

    def _fresh(self) -> Reading:
        stamp = FileStamp.of(self._path)
        if stamp != self._stamp:
            self._stamp, self.reading = stamp, read(self._path)
            self._changed(self.reading)
        return self.reading


def place(environ: Mapping[str, str]) -> Path:
    """Where the file is."""
    default = "/etc/thoughtgate-secrets/approver-tokens"
    return Path(environ.get("THOUGHTGATE_APPROVER_TOKENS") or default)


Told = tuple[str, str]
"""A place in the configuration, and what is to be said of it."""


def mistakes(workflows: Mapping[str, Workflow], tokens: Path) -> list[Told]:
    """What keeps workflows from asking on the page."""
    asking = [name for name, flow in workflows.items() if flow.adapter is Adapter.PAGE]
    if not asking or not (wrong := read(tokens).mistakes):
        return []
    told = f"the page needs `{tokens}` with lines `name:token`: {'; '.join(wrong)}"
    return [(f"approval.{asking[0]}.adapter", told)]


def without_token(workflows: Mapping[str, Workflow], names: frozenset[str]) -> list[Told]:
    """The page's listed approvers who have no token."""
    return [
        (f"approval.{name}.approvers", f"`{listed}` has no token for the page yet")
        for name, flow in workflows.items()
        if flow.adapter is Adapter.PAGE
        for listed in flow.approvers or ()
        if listed not in names
    ]
