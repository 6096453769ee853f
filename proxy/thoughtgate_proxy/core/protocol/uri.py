"""The forms of a resource's URI: as written, and as servers may come to read it."""

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote, unquote

# RFC 3986, appendix B.
_PARTS = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# A dot segment, a backslash, which URL parsers and Windows take for a slash, or two slashes where
# no URL begins within the URI.
_STEPS = re.compile(r"\\|(?:^|/)\.{1,2}(?:/|$)|(?<=[^:/])//")
_DECODED_AT_MOST = 3
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# WHATWG URL, section 3.1: these read `http:\\h\x` and `http:h/x` as `http://h/x`.
_SPECIAL = re.compile(r"(https?|wss?|ftp):[/\\]*([^/\\?#]*)([^?#]*)(.*)", re.DOTALL | re.IGNORECASE)
_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21"}
_PORT = re.compile(r"(.*?)\.?(?::([0-9]*))?", re.DOTALL)
_RESERVED = ":/?#[]@!$&'()*+,;=%"


def readings(uri: str) -> tuple[str, ...]:
    """Every form of `uri` that rules must agree on; the first is the one that is written.

    Servers decode escapes never, once or more often, before or after they normalise, and with or
    without a parser of URLs: each of these is a form, for every scheme.
    """
    return (uri,) if is_plain(uri) else tuple(dict.fromkeys(_readings(uri)))


def is_plain(uri: str) -> bool:
    """Whether it is seen at once that there is one form."""
    return _PLAIN.fullmatch(uri) is not None


# Nothing to decode, to normalise, to walk or to encode: so are most URIs.
_SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.~!$&'()*+,;=:@-]+"
_PLAIN = re.compile(
    rf"(?!(?:https?|wss?|ftp|file):)[a-z][a-z0-9+.-]*:(?://[a-z0-9_-]+(?=/))?/?(?:{_SEGMENT}/)*"
    rf"(?:{_SEGMENT})?"
)


def _readings(uri: str) -> Iterator[str]:
    yield uri
    yield from _forms(uri)
    for _ in range(_DECODED_AT_MOST):
        if not _ESCAPE.search(uri):
            return
        uri = unquote(uri)
        yield uri
        yield from _forms(uri)
        # Dropped by parsers of URLs; and a NUL ends a name for whatever is written in C.
        if (bare := _CONTROL.sub("", uri).strip()) != uri:
            yield bare
            yield from _forms(bare)
            yield uri.partition("\0")[0]


def _forms(uri: str) -> Iterator[str]:
    """What is made of `uri` before anything in it is decoded, but to walk it."""
    yield (steps := walked(uri))
    yield from _parsed(uri)
    if steps != uri:
        yield from _parsed(steps)


def _parsed(uri: str) -> Iterator[str]:
    yield normalised(uri)
    yield quote(normalised(uri), safe=_RESERVED)
    if (special := _SPECIAL.fullmatch(uri)) is not None:
        yield _browsed(special)


def _browsed(special: re.Match[str]) -> str:
    """A URL as browsers and the parsers that follow them read it (WHATWG URL, section 4.4)."""
    scheme, authority, path, rest = special.groups()
    scheme = scheme.lower()
    user, at, host = authority.rpartition("@")
    match = _PORT.fullmatch(unicodedata.normalize("NFKC", unquote(host)).casefold())
    assert match is not None  # noqa: S101  every part may be empty
    name, port = _ipv4(match[1]), match[2]
    end = f":{port}" if port and port != _PORTS[scheme] else ""
    walked = _without_dots(_escapes(path.replace("\\", "/")))
    return f"{scheme}://{user}{at}{name}{end}{walked or '/'}{rest}"


def _ipv4(host: str) -> str:
    """An address in any of its notations (section 3.5) as four numbers; a name as it is."""
    numbers = []
    for part in host.split("."):
        base = 16 if part.startswith("0x") else 8 if part.startswith("0") else 10
        digits = part.removeprefix("0x") if base == 16 else part
        try:
            numbers.append(int(digits or "0", base) if part else -1)
        except ValueError:
            return host
    *first, last = numbers
    if len(numbers) > 4 or any(not 0 <= number < 256 for number in first):
        return host
    room = 4 - len(first)
    if not 0 <= last < 256**room:
        return host
    return ".".join(map(str, [*first, *last.to_bytes(room, "big")]))


def normalised(uri: str) -> str:
    """`uri` in the normal form of RFC 3986, section 6.2.2: case, escapes and dot segments."""
    match = _PARTS.fullmatch(uri)
    assert match is not None  # noqa: S101  every part may be empty
    scheme, authority, path, query, fragment = match.groups()
    return "".join(
        (
            f"{scheme.lower()}:" if scheme is not None else "",
            f"//{_authority(authority)}" if authority is not None else "",
            _without_dots(_escapes(path)),
            f"?{_escapes(query)}" if query is not None else "",
            f"#{_escapes(fragment)}" if fragment is not None else "",
        )
    )


def walked(uri: str) -> str:
    """`uri` as a server reads it that decodes it first and then walks its path in a file system.

    So `docs://public/..%2Fsecret` becomes `docs://secret`: many servers cut the scheme off and take
    all the rest for a path. Where there are no steps to walk this is `uri` itself.
    """
    match = _PARTS.fullmatch(uri)
    assert match is not None  # noqa: S101  every part may be empty
    scheme, authority, path, query, fragment = match.groups()
    start = f"{scheme.lower()}:" if scheme is not None else ""
    path, other = _decoded(path), False
    if start == "file:" and (authority or "").lower() in ("", "localhost"):
        # RFC 8089 and URL parsers: `file:/a`, `file://localhost/a` and `file:///a` are one.
        start, other = "file:///", authority != "" or path.startswith(("//", "/\\"))
    elif authority is not None:
        start, path = f"{start}//", _decoded(authority) + path
    elif path.startswith("/"):
        start += "/"
    if not other and not _STEPS.search(path):
        return uri
    kept: list[str] = []
    path = path.replace("\\", "/")
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", ".") or (not segment and kept and kept[-1].endswith(":")):
            kept.append(segment)
    end = "/" if kept and path.endswith("/") else ""
    return "".join(
        (
            start,
            "/".join(kept),
            end,
            f"?{query}" if query is not None else "",
            f"#{fragment}" if fragment is not None else "",
        )
    )


def _decoded(text: str) -> str:
    for _ in range(_DECODED_AT_MOST):
        if not _ESCAPE.search(text):
            break
        text = unquote(text)
    return text


def _authority(authority: str) -> str:
    user, at, host = authority.rpartition("@")
    # Lower case last: a decoded escape may be a letter.
    # Empty, user and port are the same as none (section 6.2.3).
    start = f"{_escapes(user)}{at}" if user else ""
    return f"{start}{_escapes(host).lower().removesuffix(':')}"


def _escapes(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if character in _UNRESERVED else match[0].upper()

    return _ESCAPE.sub(one, text)


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4; a path without a leading slash, of which it says little, keeps none.

    Else `file:public/../secret` would become `file:/secret`, and no rule on `file:secret` met it.
    """
    root = "/" if path.startswith("/") else ""
    kept: list[str] = []
    segments = path.removeprefix("/").split("/")
    for place, segment in enumerate(segments):
        if segment not in (".", ".."):
            kept.append(segment)
            continue
        if segment == "..":
            del kept[-1:]
        if place == len(segments) - 1:
            kept.append("")
    return root + "/".join(kept)
