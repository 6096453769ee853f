"""The trace that a request belongs to (W3C Trace Context, section 3.2)."""

import re
from collections.abc import Mapping
from typing import Any

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def traceparent(params: Mapping[str, Any], header: str | None) -> str | None:
    """The `traceparent` of a message: MCP's own in `_meta`, else the header's.

    One that is malformed counts as absent, so nothing else is ever logged.
    """
    meta = params.get("_meta")
    for said in (meta.get("traceparent") if isinstance(meta, Mapping) else None, header):
        if isinstance(said, str) and _TRACEPARENT.fullmatch(said):
            return said
    return None
