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
# Where servers are, and where clients look for them.
_USUAL = ("/", "/mcp", "/mcp/")
_TARGET = re.compile(r"/[!-~]*")


@dataclass(frozen=True, slots=True)
class Route:
    """A source, and the target of the request to its server."""

    source: Source
    target: str


def route(target: str, sources: Sequence[Source]) -> Route:
    """Find the source for a request target, and the endpoint there. Raises `HttpRefused`.

    `sources` are all of the configuration: one answers at its own endpoints, several each under
    `/<id>`, be it enabled or not, so that no path changes its meaning when one is switched off.
    Targets are compared as they stand, with their query: a server may have other routes beside
    MCP, and which one it takes is nobody's to choose but the configuration's.
    """
    path, _ = _checked(target)
    if len(sources) == 1:
        source, start, rest = sources[0], "", target
    else:
        id = path[1:].partition("/")[0]
        start, rest = f"/{id}", target[1 + len(id) :]
        found = next((source for source in sources if source.id == id), None)
        if found is None:
            ids = ", ".join(f"`/{source.id}`" for source in sources)
            raise HttpRefused(404, f"no source answers here; the sources are {ids}")
        source = found
    if not source.enabled:
        raise HttpRefused(404, f"the source `{source.id}` is disabled (`enabled: false`)")
    reachable = endpoints(source)
    upstream = reachable.get(rest if rest.startswith("/") else "/" + rest)
    if upstream is None:
        there = ", ".join(f"`{start}{asked}`" for asked in reachable)
        raise HttpRefused(
            404, f"no MCP endpoint is here; there are {there}, and more if `url` or `paths` say so"
        )
    return Route(source, upstream)


def endpoints(source: Source) -> dict[str, str]:
    """What a client may ask of `source`, and the target of the request to its server for each."""
    own = urlsplit(source.url)
    if not own.path and not own.query:
        return {path: path for path in (*_USUAL, *source.paths)}
    target = (own.path or "/") + (f"?{own.query}" if own.query else "")
    return dict.fromkeys((*_USUAL, own.path or "/", target), target)


def well_known(target: str, sources: Sequence[Source]) -> Route | None:
    """The route of authorization metadata, which lies at the server's origin (RFC 8414, 9728).

    Without a query, which no client of it needs and a server could act on.
    """
    path, query = _checked(target)
    if len(sources) != 1 or query or not _WELL_KNOWN.fullmatch(path):
        return None
    return Route(sources[0], path)


def _checked(target: str) -> tuple[str, str]:
    if not _TARGET.fullmatch(target) or "#" in target:
        raise HttpRefused(400, "the request target is not a path in printable ASCII")
    path, mark, query = target.partition("?")
    if _AMBIGUOUS.search(path):
        raise HttpRefused(
            400, "the path is ambiguous: `//`, dot segments and encoded separators are refused"
        )
    return path, mark + query
