"""Who may decide on the page: the file of `name:token` lines, read again when it changes.

Nothing here quotes a token: a mistake names the file, the line and what is wrong with it.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thoughtgate_proxy.approvals.channels.channel import ChannelSettings
from thoughtgate_proxy.approvals.channels.watched_file import WatchedFile

APPROVER: Final = "[A-Za-z0-9._@+-]{1,64}"
"""A name, as a regular expression."""
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
    if not re.fullmatch(APPROVER, name) or not token:
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
        """`changed` is told of each new reading but the first."""
        self._file = WatchedFile(path, read, changed)

    def named(self, token: str) -> Approver | None:
        """Whose token that is. All are compared, so that the time taken tells nothing."""
        mark = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = None
        for approver in self._file.value().approvers:
            if hmac.compare_digest(approver.mark, mark):
                found = approver
        return found

    def stands(self, approver: Approver) -> bool:
        """Whether the file still has that name with that token."""
        return approver in self._file.value().approvers

    @property
    def names(self) -> frozenset[str]:
        """All who have a token."""
        return frozenset(approver.name for approver in self._file.value().approvers)


def place(settings: ChannelSettings) -> Path:
    """Where the file is."""
    given = settings.environ.get("THOUGHTGATE_APPROVER_TOKENS")
    return Path(given) if given else settings.secrets / "approver-tokens"
