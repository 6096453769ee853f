"""The one form that equal resource URIs share."""

import re

# RFC 3986, appendix B.
_PARTS = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def normalised(uri: str) -> str:
    """`uri` in the normal form of RFC 3986, section 6.2.2: case, escapes and dot segments."""
    match = _PARTS.fullmatch(uri)
    assert match is not None  # noqa: S101  every part may be empty
    scheme, authority, path, query, fragment = match.groups()
    path = _without_dots(_escapes(path)) if scheme or authority is not None else _escapes(path)
    return "".join(
        (
            f"{scheme.lower()}:" if scheme is not None else "",
            f"//{_authority(authority)}" if authority is not None else "",
            path,
            f"?{_escapes(query)}" if query is not None else "",
            f"#{_escapes(fragment)}" if fragment is not None else "",
        )
    )


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
    """RFC 3986, section 5.2.4."""
    kept: list[str] = []
    segments = path.split("/")
    for place, segment in enumerate(segments):
        last = place == len(segments) - 1
        if segment not in (".", ".."):
            kept.append(segment)
            continue
        if segment == ".." and len(kept) > 1:
            kept.pop()
        if last:
            kept.append("")
    return "/".join(kept)
