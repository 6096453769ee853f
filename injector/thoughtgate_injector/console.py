"""What a command says to whoever called it."""

import sys
from collections.abc import Iterable


def fail(reasons: Iterable[str]) -> int:
    """Say the reasons on standard error, and give the exit code."""
    for reason in reasons:
        print(f"error: {reason}", file=sys.stderr)
    return 1
