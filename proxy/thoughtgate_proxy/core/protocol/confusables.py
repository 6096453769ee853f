"""Keys that look like others, which a lenient server could take for them."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

# Control characters, and Unicode's Default_Ignorable_Code_Point: what is shown as nothing.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Java's `equalsIgnoreCase` takes both for an `i`; Unicode's folding takes neither.
_TURKISH = {0x130: "i", 0x131: "i"}
# Normalising a run of combining marks takes time that grows with its square.
_LONGEST_NORMALISED = 256


def fold(key: str) -> str:
    """The form under which two keys look alike: NFKC, case folded, without invisible characters."""
    if key.isascii() and key.isprintable():
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
        self._ascii = all(map(str.isascii, self._known))
        # Composing takes at most four characters to one.
        self._longest = 4 * max(map(len, self._known), default=0)
        self.hold = self._known.issuperset
        """Whether they are all that a mapping has: so it is with nearly every message."""

    def impostor(self, value: Mapping[str, Any]) -> tuple[str, str] | None:
        """A key of `value` that looks like a known one without being it, and that one.

        Underscores and hyphens do not tell keys apart: models with aliases (Pydantic's, Jackson's)
        often take `resource_subscriptions` for `resourceSubscriptions`.
        """
        if self.hold(value):
            return None  # far quicker than to fold its keys
        for key in value:
            if key not in self._known and self._can_be_meant(key):
                meant = self._meant.get(_plain(key))
                if meant is not None:
                    return key, meant
        return None

    def _can_be_meant(self, key: str) -> bool:
        """A quick look, so that keys which are made to be slow are never folded."""
        if key.isascii():
            return True
        if self._ascii and not all(map(_folds_to_ascii, key)):
            return False
        return len(_INVISIBLE.sub("", key).replace("_", "").replace("-", "")) <= self._longest


class KeyPaths:
    """The keys that somebody reads, each where it is read: the paths to them from an object."""

    def __init__(self, paths: Iterable[tuple[str, ...]]) -> None:
        below: dict[str, list[tuple[str, ...]]] = {}
        for path in paths:
            if path:
                below.setdefault(path[0], []).append(path[1:])
        self._keys = KnownKeys(below) if below else None
        self._below = {key: KeyPaths(rest) for key, rest in below.items() if any(rest)}

    def impostor(self, value: Any) -> tuple[str, str] | None:
        """A key that looks like one that is read in its place, and that one."""
        if self._keys is None or not isinstance(value, Mapping):
            return None
        if found := self._keys.impostor(value):
            return found
        for key, paths in self._below.items():
            if key in value and (found := paths.impostor(value[key])):
                return found
        return None


def alike(found: tuple[str, str]) -> str:
    """What an `impostor` of the arguments is, in words that hold nothing but ASCII."""
    key, meant = (ascii(one[:80])[1:-1] for one in found)
    return f"the argument key `{key}` looks like `{meant}`"


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


@lru_cache(maxsize=4096)
def _folds_to_ascii(character: str) -> bool:
    # With the dot above, `I` is one of the letters that Turkish folds to `i`.
    return character == "\u0307" or fold(character).isascii()


def _plain(key: str) -> str:
    return fold(key).replace("_", "").replace("-", "")
