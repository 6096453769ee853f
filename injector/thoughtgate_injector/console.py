"""Output of the commands that fail."""

import sys
from collections.abc import Iterable


def fail(reasons: Iterable[str]) -> int:
    """Print the reasons on stderr; give the exit code."""
    for reason in reasons:
        print(f"error: {reason}", file=sys.stderr)
    return 1
