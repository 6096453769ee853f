"""Reads YAML as kubectl does, where ruamel.yaml (YAML 1.2) reads something else, or nothing.

kubectl's reader is YAML 1.1 with changes (sigs.k8s.io/yaml, goyaml.v2/resolve.go): `no` is a
boolean, `0644` an octal number, and a tab may stand where a space separates.
"""

import io
import re
from collections.abc import Mapping
from typing import Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.scalarint import ScalarInt
from ruamel.yaml.scalarstring import PlainScalarString

_BOOLEANS: Final = {
    word: value
    for value, words in ((True, ("y", "yes", "on")), (False, ("n", "no", "off")))
    for lower in words
    for word in (lower, lower.capitalize(), lower.upper())
}
_OCTAL: Final = re.compile(r"0_*([0-7][0-7_]*)")
_TABS: Final = re.compile(r"\t+")
_BOM: Final = "\ufeff"


def round_trip() -> YAML:
    """Make a reader that keeps comments, quotes and order, and does not fold long lines."""
    loader = YAML(typ="rt", pure=True)
    loader.preserve_quotes = True
    loader.width = 2**31
    return loader


def value_of(text: str) -> Any:
    """Decode one document; a timestamp is a string, as in JSON. Raises as ruamel.yaml does."""
    return _plain(round_trip().load(without_tabs(text)))


def without_tabs(text: str) -> str:
    """Give the text with spaces for the tabs between tokens; every other place stays.

    ruamel.yaml refuses a tab behind a value, which kubectl and libyaml read over.
    """
    if "\t" not in text or not yaml.__with_libyaml__:
        return text
    start = 1 if text.startswith(_BOM) else 0  # libyaml does not count it
    parts: list[str] = []
    at = 0
    try:
        for token in yaml.scan(text, Loader=yaml.CSafeLoader):
            begin, end = token.start_mark.index + start, token.end_mark.index + start
            if begin > at:
                parts.append(_TABS.sub(_spaces, text[at:begin]))
                at = begin
            if end > at:
                parts.append(text[at:end])
                at = end
    except yaml.YAMLError:
        return text  # ruamel.yaml will say what is wrong with it
    return "".join(parts) + _TABS.sub(_spaces, text[at:])


def _spaces(tabs: re.Match[str]) -> str:
    return " " * len(tabs[0])


def _plain(node: object) -> Any:
    """Convert a ruamel.yaml tree to plain Python values."""
    if isinstance(node, Mapping):
        return {_key(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if node is None or isinstance(node, bool):
        return node
    if type(node) in (str, PlainScalarString) and str(node) in _BOOLEANS:
        return _BOOLEANS[str(node)]
    if isinstance(node, ScalarInt):
        return _whole(node)
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return str(node)  # a timestamp, which JSON has as a string


def _key(node: object) -> Any:
    """Convert a mapping's key, which is a string in JSON: `on:` is a name."""
    return str(node) if type(node) in (str, PlainScalarString) else _plain(node)


def _whole(node: ScalarInt) -> int:
    """Read a number of special form, which ruamel.yaml writes as it stood in the text."""
    out = io.StringIO()
    YAML(typ="rt", pure=True).dump([node], out)
    octal = _OCTAL.fullmatch(out.getvalue().removeprefix("- ").strip())
    return int(octal[1].replace("_", ""), 8) if octal else int(node)
