"""The operator's settings: ConfigMap `thoughtgate-injector`, key `settings.yaml`.

```yaml
sidecar:
  image: ghcr.io/thoughtgate/thoughtgate-proxy:v0.1.0
  env: {}            # of SIDECAR_ENV only
options:
  allowed: []        # of GUARDED only
```
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from thoughtgate_injector.core import names
from thoughtgate_injector.core.refusal import Refusal, listed, shown

# What an agent's developer may set only where the operator says so.
GUARDED: Final = ("config", "image", "native-sidecar")
# What goes into every sidecar beside the contract's own: where the outside is reached.
SIDECAR_ENV: Final = (names.ENV_SLACK_API_URL, "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
IMAGE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,511}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator has decided for every pod; the defaults are those of the manifests."""

    image: str = names.SIDECAR_IMAGE
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    allowed: frozenset[str] = frozenset()


def read(text: str) -> Settings | Refusal:
    """Read a settings file; a refusal holds all mistakes, each with its place."""
    try:
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        return Refusal((f"the settings are no YAML: {shown(' '.join(str(error).split()))}",))
    mistakes: list[str] = []
    top = _section(document, "the settings", ("sidecar", "options"), mistakes)
    sidecar = _section(top.get("sidecar"), "sidecar", ("image", "env"), mistakes)
    options = _section(top.get("options"), "options", ("allowed",), mistakes)
    settings = Settings(
        image=_image(sidecar.get("image", names.SIDECAR_IMAGE), mistakes),
        env=MappingProxyType(dict(_env(sidecar.get("env"), mistakes))),
        allowed=frozenset(_allowed(options.get("allowed"), mistakes)),
    )
    return Refusal(tuple(mistakes)) if mistakes else settings


def _section(
    value: object, place: str, known: tuple[str, ...], mistakes: list[str]
) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        mistakes.append(f"{place}: found {shown(value)}; allowed: a mapping of {listed(known)}")
        return {}
    mistakes.extend(
        f"{place}: unknown key {shown(key)}; allowed: {listed(known)}"
        for key in value
        if key not in known
    )
    return value


def _image(value: object, mistakes: list[str]) -> str:
    if isinstance(value, str) and IMAGE.fullmatch(value):
        return value
    mistakes.append(f"sidecar.image: found {shown(value)}; allowed: an image reference")
    return names.SIDECAR_IMAGE


def _env(value: object, mistakes: list[str]) -> Iterable[tuple[str, str]]:
    for name, text in _section(value, "sidecar.env", SIDECAR_ENV, mistakes).items():
        if isinstance(text, str) and text.isprintable() and "$(" not in text:
            yield str(name), text
        else:
            mistakes.append(
                f"sidecar.env.{name}: found {shown(text)}; allowed: a string on one line, "
                "in quotes, without `$(`"
            )


def _allowed(value: object, mistakes: list[str]) -> Iterable[str]:
    if value is None:
        return
    if not isinstance(value, list):
        mistakes.append(
            f"options.allowed: found {shown(value)}; allowed: a list of {listed(GUARDED)}"
        )
        return
    for index, option in enumerate(value):
        if option in GUARDED:
            yield option
        else:
            mistakes.append(
                f"options.allowed[{index}]: found {shown(option)}; allowed: {listed(GUARDED)}"
            )
