"""The options of a pod: its `thoughtgate.io/` annotations, read into values or refused."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Final

from thoughtgate_injector.core import names, quantity
from thoughtgate_injector.core.refusal import Refusal, listed, shown
from thoughtgate_injector.core.settings import GUARDED, IMAGE, Settings

_MIB: Final = Fraction(2**20)
_DNS_SUBDOMAIN: Final = re.compile(
    r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
)
_LONGEST_NAME: Final = 253
# `toughtgate.io` has 0.96, `thoughtgate` 0.88, `settings.thoughtgate.io` 0.76.
_ALIKE: Final = 0.8


class Profile(Enum):
    """The rows of the reference document's table of resources."""

    LIGHT = "light"
    MEDIUM = "medium"
    HEAVY = "heavy"


@dataclass(frozen=True, slots=True)
class Options:
    """What the pod asks for; None is the default of the contract.

    Quantities are as the pod writes them, checked to be quantities of a sensible size.
    """

    profile: Profile = Profile.MEDIUM
    config: str | None = None
    image: str | None = None
    cpu_request: str | None = None
    cpu_limit: str | None = None
    memory_request: str | None = None
    memory_limit: str | None = None
    exclude_containers: tuple[str, ...] = ()
    native: bool = True
    log_level: str | None = None


# INVARIANT: this is the complete list of the contract, in its order.
NAMES: Final = (
    "profile",
    "config",
    "image",
    "cpu-request",
    "cpu-limit",
    "memory-request",
    "memory-limit",
    "exclude-containers",
    "native-sidecar",
    "log-level",
)
_ANNOTATIONS: Final = (names.INJECT, names.STATUS, *(names.PREFIX + name for name in NAMES))


def read(
    annotations: Mapping[str, str], labels: Mapping[str, str], settings: Settings
) -> Options | Refusal:
    """Read the options of an opted-in pod; a refusal holds all mistakes."""
    reader = _Reader(annotations, settings)
    reader.unknown(annotations, labels)
    options = Options(
        profile=Profile(reader.choice("profile", tuple(p.value for p in Profile)) or "medium"),
        config=reader.config_map(),
        image=reader.image(),
        cpu_request=reader.amount("cpu-request", Fraction(1, 1000), "`1m`"),
        cpu_limit=reader.amount("cpu-limit", Fraction(1, 1000), "`1m`"),
        memory_request=reader.amount("memory-request", _MIB, "`1Mi`"),
        memory_limit=reader.amount("memory-limit", _MIB, "`1Mi`"),
        exclude_containers=reader.container_names(),
        native=reader.native(),
        log_level=reader.choice("log-level", names.LOG_LEVELS),
    )
    return Refusal(tuple(reader.mistakes)) if reader.mistakes else options


class _Reader:
    """Reads one option after the other and keeps the mistakes."""

    def __init__(self, annotations: Mapping[str, str], settings: Settings) -> None:
        self.mistakes: list[str] = []
        self._annotations = annotations
        self._settings = settings

    def unknown(self, annotations: Mapping[str, str], labels: Mapping[str, str]) -> None:
        for key in sorted(annotations):
            if key.startswith(names.PREFIX) and key not in _ANNOTATIONS:
                self.mistakes.append(
                    f"unknown annotation {shown(key)}; the nearest one is {shown(nearest(key))}"
                )
        for key in sorted(labels):
            if key in _ANNOTATIONS and key != names.INJECT:
                self.mistakes.append(f"label {shown(key)} is allowed as an annotation only")
            elif key.startswith(names.PREFIX) and key != names.INJECT:
                self.mistakes.append(
                    f"unknown label {shown(key)}; the nearest one is {shown(names.INJECT)}"
                )

    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None:
        found = self._get(name)
        if found is None or found in allowed:
            return found
        self._refuse(name, found, f"allowed: {listed(allowed)}")
        return None

    def config_map(self) -> str | None:
        found = self._guarded("config")
        if found is None or (len(found) <= _LONGEST_NAME and _DNS_SUBDOMAIN.fullmatch(found)):
            return found
        self._refuse("config", found, "allowed: the name of a ConfigMap")
        return None

    def image(self) -> str | None:
        found = self._guarded("image")
        if found is None or IMAGE.fullmatch(found):
            return found
        self._refuse("image", found, "allowed: an image reference")
        return None

    def native(self) -> bool:
        # "true" is the default, so it needs no permission.
        if self._get("native-sidecar") == "true":
            return True
        found = self._guarded("native-sidecar")
        if found not in {None, "false"}:
            self._refuse("native-sidecar", found, "allowed: `true`, `false`")
        return found is None

    def amount(self, name: str, least: Fraction, least_words: str) -> str | None:
        found = self._get(name)
        if found is None:
            return None
        try:
            amount = quantity.parse(found)
        except ValueError as error:
            self.mistakes.append(
                f"annotation `{names.PREFIX}{name}` is {shown(found)}, which {error}"
            )
            return None
        if amount < least:
            # "100m" of memory is a tenth of a byte: always a typing mistake for 100M.
            self._refuse(name, found, f"allowed: {least_words} or more")
            return None
        return found

    def container_names(self) -> tuple[str, ...]:
        found = self._get("exclude-containers")
        if found is None:
            return ()
        parts = tuple(part.strip() for part in found.split(","))
        if not all(parts):
            self._refuse("exclude-containers", found, "allowed: container names with commas")
        return parts

    def _get(self, name: str) -> str | None:
        return self._annotations.get(names.PREFIX + name)

    def _guarded(self, name: str) -> str | None:
        found = self._get(name)
        if found is not None and name not in self._settings.allowed:
            guarded = [key for key in GUARDED if key in self._settings.allowed]
            allows = f"they allow {listed(guarded)}" if guarded else "they allow none of its kind"
            self.mistakes.append(
                f"annotation `{names.PREFIX}{name}` needs the operator's settings to allow "
                f"`{name}` in `options.allowed`; {allows}"
            )
            return None
        return found

    def _refuse(self, name: str, found: str | None, allowed: str) -> None:
        self.mistakes.append(f"annotation `{names.PREFIX}{name}` is {shown(found)}; {allowed}")


def near_miss(key: str) -> str | None:
    """Give the valid key that was meant by one with a misspelt `thoughtgate.io`; None: none was.

    By the domain alone: `linkerd.io/inject` is another product's.
    """
    domain, slash, name = key.partition("/")
    ours = names.PREFIX.removesuffix("/")
    if not slash or domain == ours:
        return None
    matcher = difflib.SequenceMatcher(None, ours, domain.lower())
    # The first bound is by length alone, so that most keys of a pod cost next to nothing.
    if matcher.real_quick_ratio() < _ALIKE or matcher.ratio() < _ALIKE:
        return None
    return nearest(names.PREFIX + name)


def nearest(key: str) -> str:
    """Give the valid key that is most similar to this one."""
    offered = [name for name in _ANNOTATIONS if name != names.STATUS]
    return difflib.get_close_matches(key, offered, n=1, cutoff=0)[0]
