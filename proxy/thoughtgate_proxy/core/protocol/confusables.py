"""Keys that look like others, which a lenient server could take for them."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

# Unicode's Default_Ignorable_Code_Point: what is shown as nothing.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Java's `equalsIgnoreCase` takes both for an `i`; Unicode's folding takes neither.
_TURKISH = {0x130: "i", 0x131: "i"}
# Normalising a run of combining marks takes time that grows with its square.
_LONGEST_NORMALISED = 256
# Of a message's different keys beyond ASCII, in characters: to fold so many takes up to 12 ms.
MOST_FOLDED = 4096


class KeysTooLong(ValueError):
    """There are too many keys beyond ASCII to compare them."""


def fold(key: str) -> str:
    """The form under which two keys look alike: NFKC, case folded, without invisible characters."""
    if key.isascii():
        return key.lower()
    visible = _INVISIBLE.sub("", key)
    if len(visible) > _LONGEST_NORMALISED:
        return visible.casefold()
    # Twice, since folding can undo the normal form (Unicode's toNFKC_Casefold).
    for _ in range(2):
        visible = unicodedata.normalize("NFKC", visible).translate(_TURKISH).casefold()
    return visible


class KnownKeys:
    """The keys that mean something in one kind of object."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._known = frozenset(keys)
        self._meant = {_plain(key): key for key in self._known}
        self.hold = self._known.issuperset
        """Whether they are all that a mapping has: so it is with nearly every message."""

    def impostor(self, value: Mapping[str, Any]) -> tuple[str, str] | None:
        """A key of `value` that looks like a known one without being it, and that one.

        Raises `KeysTooLong`.

        Underscores and hyphens do not tell keys apart: models with aliases (Pydantic's, Jackson's)
        often take `resource_subscriptions` for `resourceSubscriptions`.
        """
        if self.hold(value):
            return None  # far quicker than to fold its keys
        _check(value, set())
        for key in value:
            meant = self._meant.get(_plain(key))
            if meant is not None and meant != key:
                return key, meant
        return None


def twins(value: Mapping[str, Any]) -> tuple[str, str] | None:
    """Two keys of one object that are equal under `fold`, if there are any."""
    if len(value) < 2:
        return None
    seen: dict[str, str] = {}
    for key in value:
        other = seen.setdefault(fold(key), key)
        if other is not key:
            return other, key
    return None


def twins_within(value: Any) -> tuple[str, str] | None:
    """Two such keys in one object anywhere within `value`. Raises `KeysTooLong`."""
    met: set[str] = set()
    todo = [value] if isinstance(value, (dict, list)) else []
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            _check(node, met)
            if found := twins(node):
                return found
        for child in node.values() if isinstance(node, dict) else node:
            if isinstance(child, (dict, list)):
                todo.append(child)  # noqa: PERF401  a comprehension costs more than it saves here
    return None


def _plain(key: str) -> str:
    return fold(key).replace("_", "").replace("-", "")


def _check(keys: Iterable[str], met: set[str]) -> None:
    """Refuse keys before they are folded, where with those that were `met` they are too long."""
    new = [key for key in keys if not key.isascii() and key not in met]
    if new:
        met.update(new)
        if sum(map(len, met)) > MOST_FOLDED:
            raise KeysTooLong(f"its keys have more than {MOST_FOLDED} characters beyond ASCII")
