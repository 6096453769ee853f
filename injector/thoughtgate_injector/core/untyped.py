"""Decoded JSON or YAML that nobody has checked: a value of a wrong type counts as one not there."""

from collections.abc import Mapping
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    """Give a mapping; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str:
    """Give a string; an empty one for anything else."""
    return value if isinstance(value, str) else ""
