"""The forms of a resource's URI: as written, and as servers may come to read it."""

import re
from urllib.parse import unquote

# RFC 3986, appendix B.
_PARTS = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# A dot segment, or a backslash, which URL parsers and Windows take for a slash.
_STEPS = re.compile(r"\\|(?:^|/)\.{1,2}(?:/|$)")
_DECODED_AT_MOST = 3


def readings(uri: str) -> tuple[str, ...]:
    """Every form of `uri` that rules must agree on; the first is the one that is written."""
    return tuple(dict.fromkeys((uri, normalised(uri), walked(uri))))


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
    for segment in path.replace("\\", "/").split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
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
        if "%" not in text:
            break
        text = unquote(text)
    return text


def _authority(authority: str) -> str:
    user, at, host = authority.rpartition("@")
    # Lower case last: a decoded escape may be a letter.
    return f"{_escapes(user)}{at}{_escapes(host).lower()}"


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
