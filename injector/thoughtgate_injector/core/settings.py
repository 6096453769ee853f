"""The operator's settings: ConfigMap `thoughtgate-injector`, one text for each key.

```yaml
sidecar.images: |                # the first is injected; the others are known as ours
  ghcr.io/thoughtgate/thoughtgate-proxy:v0.2.0
sidecar.env: ""                  # lines of NAME=value, of SIDECAR_ENV only
options.allowed: ""              # words, of GUARDED only
```

Words and lines, not YAML: the validating policies hold the same texts and read them in CEL, which
knows no YAML, and both must understand the same.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from thoughtgate_injector.core import names
from thoughtgate_injector.core.refusal import Refusal, listed, shown

IMAGES: Final = "sidecar.images"
ENV: Final = "sidecar.env"
ALLOWED: Final = "options.allowed"
KEYS: Final = (IMAGES, ENV, ALLOWED)

# Options that an agent's developer may use only if the operator allows them.
GUARDED: Final = ("config", "image", "native-sidecar")
# Environment that the operator may add to every sidecar: how the outside is reached.
SIDECAR_ENV: Final = (names.ENV_SLACK_API_URL, "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
IMAGE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,511}")
_WORD: Final = re.compile(r"[^ \n]+")
_LINE: Final = re.compile(r"[^\n]+")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator has decided for every pod; the defaults are those of the manifests."""

    images: tuple[str, ...] = (names.SIDECAR_IMAGE,)
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    allowed: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError("the settings need an image")

    @property
    def image(self) -> str:
        """The image that is injected."""
        return self.images[0]


def read(texts: Mapping[str, str]) -> Settings | Refusal:
    """Read the texts of the settings by their keys; a refusal holds all mistakes."""
    mistakes = [
        f"the settings: unknown key {shown(key)}; allowed: {listed(KEYS)}"
        for key in texts
        if key not in KEYS
    ]
    images = tuple(_images(texts.get(IMAGES, names.SIDECAR_IMAGE), mistakes))
    env = dict(_env(texts.get(ENV, ""), mistakes))
    allowed = frozenset(_allowed(texts.get(ALLOWED, ""), mistakes))
    if mistakes:
        return Refusal(tuple(mistakes))
    return Settings(images, MappingProxyType(env), allowed)


def _images(text: str, mistakes: list[str]) -> Iterable[str]:
    found = _WORD.findall(text)
    if not found:
        mistakes.append(f"{IMAGES}: found nothing; allowed: image references, the newest first")
    for word in found:
        if IMAGE.fullmatch(word):
            yield word
        else:
            mistakes.append(f"{IMAGES}: found {shown(word)}; allowed: image references")


def _env(text: str, mistakes: list[str]) -> Iterable[tuple[str, str]]:
    there: set[str] = set()
    for line in _LINE.findall(text):
        name, equals, value = line.partition("=")
        if not equals or name not in SIDECAR_ENV:
            mistakes.append(
                f"{ENV}: found {shown(line)}; allowed: lines of NAME=value, with the names "
                f"{listed(SIDECAR_ENV)}"
            )
        elif not value.isprintable() or "$(" in value or "'" in value:
            mistakes.append(
                f"{ENV}: {name} is {shown(value)}; allowed: printable characters without `$(` "
                "and without single quotes"
            )
        elif name in there:
            mistakes.append(f"{ENV}: {name} is there twice; allowed: each name once")
        else:
            there.add(name)
            yield name, value


def _allowed(text: str, mistakes: list[str]) -> Iterable[str]:
    for word in _WORD.findall(text):
        if word in GUARDED:
            yield word
        else:
            mistakes.append(f"{ALLOWED}: found {shown(word)}; allowed: {listed(GUARDED)}")
