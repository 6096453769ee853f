"""Readers of the small texts: a duration, a rate, a URL, a glob. One function each.

A reader takes the text and gives the value, or raises UnreadableError with what is allowed; the
caller says where it stands and what was found.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from thoughtgate_proxy.core.config.values import DAY, RateLimit


class UnreadableError(ValueError):
    """What would be allowed in place of the text: one line."""


_UNITS: Final = {"d": DAY, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(
    r"(?:(\d{1,7})d)? ?(?:(\d{1,7})h)? ?(?:(\d{1,7})m)? ?(?:(\d{1,7})s)? ?(?:(\d{1,7})ms)?",
    re.ASCII,
)
_ISO_8601 = re.compile(
    r"P(?:(\d{1,7})D)?(?:T(?=\d)(?:(\d{1,7})H)?(?:(\d{1,7})M)?(?:(\d{1,7})S)?)?", re.ASCII
)


def duration(text: str) -> float:
    """Seconds of `5m`, `1h30m`, `1h 30m`, `500ms`, `PT5M`."""
    match = _ISO_8601.fullmatch(text) or _DURATION.fullmatch(text)
    blanks = "  " in text or text != text.strip()
    if match is None or not any(match.groups()) or blanks:
        hint = f"; a number needs its unit: `{text}s`" if re.fullmatch(r"\d{1,7}", text) else ""
        raise UnreadableError(f"a duration such as `90s`, `5m`, `1h30m` or `PT5M`{hint}")
    return sum(
        int(number) * seconds
        for number, seconds in zip(match.groups(), _UNITS.values(), strict=False)
        if number
    )


def written_duration(seconds: float) -> str:
    """The shortest text that `duration` reads as `seconds`."""
    left, text = round(seconds * 1000), ""
    for unit, size in _UNITS.items():
        number, left = divmod(left, round(size * 1000))
        text += f"{number}{unit}" if number else ""
    return text or "0s"


def rate(text: str) -> RateLimit:
    """`20/m`: a count from 1, and one of s, m, h, d."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})/([smhd])", text)
    if match is None:
        hint = f": `{text}/h`" if re.fullmatch(r"[0-9]{1,7}", text) else ""
        raise UnreadableError(f"calls per time, such as `5/s`, `20/m`, `100/h` or `500/d`{hint}")
    return RateLimit(int(match[1]), _UNITS[match[2]])


def glob(text: str) -> str:
    """A whole name with `*` for any run and `?` for one character, and no other wildcard.

    Kept as text. Other glob dialects are refused, as a rule that means less than it looks would
    let calls through.
    """
    if not text:
        raise UnreadableError('a name; `"*"` matches every one')
    if bad := re.search(r"[\[\]{}\\]|^!", text):
        raise UnreadableError(
            f"a name with the wildcards `*` and `?` only; `{bad[0]}` is none here"
        )
    if not text.isprintable() or text != text.strip():
        raise UnreadableError("a name without control characters and surrounding blanks")
    return text


def identifier(text: str) -> str:
    """The id of a source or workflow; it stands in paths and file names."""
    if not re.fullmatch(r"[A-Za-z0-9-][A-Za-z0-9._-]{0,62}", text):
        raise UnreadableError(
            "1 to 63 of the characters `A-Z a-z 0-9 . _ -`, the first not `.` or `_`"
        )
    return text


def url(text: str) -> str:
    """An absolute http or https URL without user and fragment; kept as text."""
    allowed = "an absolute URL such as `http://mcp-server:3000` or `https://host/mcp`"
    if not re.fullmatch(r"[!-~]+", text) or re.search(r'[\\"<>^`{|}]', text):
        raise UnreadableError(f"{allowed}, in printable ASCII without blanks")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        if host and ":" in host:
            ipaddress.IPv6Address(host)
    except ValueError as error:
        raise UnreadableError(allowed) from error
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise UnreadableError(allowed)
    if ":" not in host and not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", host):
        raise UnreadableError(allowed)
    if "@" in parts.netloc:
        raise UnreadableError(f"{allowed}; credentials belong in `headers`")
    if "#" in text:
        raise UnreadableError(f"{allowed}, without a fragment")
    return text


# What describes the hop, the message or the protocol is not the configuration's to set: a fixed
# Mcp-Name or Content-Length would tell another story than the body.
_NOT_OURS = re.compile(
    r"connection|keep-alive|proxy-.*|te|trailers?|transfer-encoding|upgrade|host|content-.*|accept"
    r"|accept-encoding|expect|mcp-.*|last-event-id|x-http-method-override",
    re.IGNORECASE,
)


def header_name(text: str) -> str:
    """A field name by RFC 9110, section 5.1, that may be set from here."""
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text):
        raise UnreadableError("a header's name such as `Authorization`")
    if _NOT_OURS.fullmatch(text):
        raise UnreadableError(
            "a header's name that is not hop-by-hop, Host, Accept, Content-*, Proxy-* or Mcp-*"
        )
    return text


def header_value(text: str) -> str:
    """A field value by RFC 9110, section 5.5, in ASCII; may be empty or end with a blank."""
    if not re.fullmatch(r"[\t -~]*", text):
        raise UnreadableError("printable ASCII without line ends")
    return text


def method(text: str) -> str:
    """A JSON-RPC method's exact name."""
    if not re.fullmatch(r"[A-Za-z0-9_$.-]+(/[A-Za-z0-9_$.-]+)*", text):
        raise UnreadableError("a method's exact name such as `vendor/doThing`")
    if text in GATED_METHODS:
        raise UnreadableError("a method that is not gated: rules decide about this one")
    return text


GATED_METHODS: Final = frozenset({
    "tools/call", "prompts/get", "resources/read", "resources/subscribe",
    "subscriptions/listen", "completion/complete",
})  # fmt: skip


def variable(text: str) -> str:
    """An environment variable's name."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise UnreadableError("a variable's name such as `UPSTREAM_TOKEN`")
    return text


def path(text: str) -> str:
    """A file's path, absolute or from the config file's folder."""
    if not text or not text.isprintable():
        raise UnreadableError("a file's path, absolute or from this file's folder")
    return text


def field_path(text: str) -> str:
    """Dotted keys into a call's arguments: `card.number`."""
    if not text.isprintable() or not all(text.split(".")):
        raise UnreadableError("dotted keys into the arguments such as `card.number`")
    return text


def name(text: str) -> str:
    """An approver: which forms are allowed depends on the workflow's adapter (`checks`)."""
    if not text.isprintable() or not text.strip() or text != text.strip():
        raise UnreadableError("a name without surrounding blanks")
    return text


def channel(text: str) -> str:
    """A Slack channel, `#name` or its id."""
    if not re.fullmatch(r"#[^\s#@,:<>&]{1,80}|[CDG][A-Z0-9]{2,20}", text):
        raise UnreadableError('a channel such as `"#approvals"` or its id `C0123456789`')
    return text


def mention(text: str) -> str:
    """Whom a Slack message calls: a user's or user group's id, `here` or `channel`."""
    if not re.fullmatch(r"[UWS][A-Z0-9]{2,20}|here|channel", text):
        raise UnreadableError("a user id `U...`, a user group's id `S...`, `here` or `channel`")
    return text


READERS: Final[dict[str, Callable[[str], object]]] = {
    "id": identifier, "url": url, "glob": glob, "method": method, "header name": header_name,
    "header value": header_value, "variable": variable, "path": path, "field path": field_path,
    "name": name, "channel": channel, "mention": mention, "duration": duration, "rate": rate,
}  # fmt: skip
