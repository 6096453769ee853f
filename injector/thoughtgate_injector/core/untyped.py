"""Decoded JSON or YAML of unknown types: a value of a wrong type counts as missing."""

from collections.abc import Mapping
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    """Give a mapping; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str:
    """Give a string; an empty one for anything else."""
    return value if isinstance(value, str) else ""
