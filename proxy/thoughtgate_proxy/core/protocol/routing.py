"""Which source a request target means, and what is asked of its server."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.protocol.http import HttpRefused

_WELL_KNOWN = re.compile(r"/\.well-known/(?:oauth-|openid-configuration)[A-Za-z0-9._~/-]*")
# Anything that a server could resolve to another path than the one that is written.
_AMBIGUOUS = re.compile(r"//|/\.{1,2}(?:/|$)|\\|%(?:2e|2f|5c|00)", re.IGNORECASE)
_TARGET = re.compile(r"/[!-~]*")


@dataclass(frozen=True, slots=True)
class Route:
    """A source, and the target of the request to its server."""

    source: Source
    target: str


def route(target: str, sources: Sequence[Source]) -> Route:
    """Find the source for a request target. Raises `HttpRefused`.

    One source answers at every path; several answer each under `/<id>`. A path in the source's URL
    is used as it stands; without one the client's is kept.
    """
    path, query = _checked(target)
    if len(sources) == 1:
        source, rest = sources[0], path
    else:
        first, slash, rest = path[1:].partition("/")
        found = next((source for source in sources if source.id == first), None)
        if found is None:
            ids = ", ".join(f"`/{source.id}`" for source in sources)
            raise HttpRefused(404, f"no source answers here; the sources are {ids}")
        source, rest = found, slash + rest
    own = urlsplit(source.url)
    if own.path or own.query:
        return Route(source, (own.path or "/") + (f"?{own.query}" if own.query else ""))
    return Route(source, (rest or "/") + query)


def well_known(target: str, sources: Sequence[Source]) -> Route | None:
    """The route of authorization metadata, which lies at the server's origin (RFC 8414, 9728)."""
    path, query = _checked(target)
    if len(sources) != 1 or not _WELL_KNOWN.fullmatch(path):
        return None
    return Route(sources[0], path + query)


def _checked(target: str) -> tuple[str, str]:
    if not _TARGET.fullmatch(target) or "#" in target:
        raise HttpRefused(400, "the request target is not a path in printable ASCII")
    path, mark, query = target.partition("?")
    if _AMBIGUOUS.search(path):
        raise HttpRefused(
            400, "the path is ambiguous: `//`, dot segments and encoded separators are refused"
        )
    return path, mark + query
