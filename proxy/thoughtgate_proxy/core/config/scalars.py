"""Readers of the small texts: a duration, a rate, a URL, a glob.

A reader takes the text and gives the value, or raises UnreadableError with what is allowed; the
caller says where it stands and what was found. Beside each stands the pattern of its texts, which
the JSON Schema shows to editors: written in what Python's expressions and ECMA-262's share.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

from thoughtgate_proxy.core.config.values import DAY, RateLimit


class UnreadableError(ValueError):
    """What would be allowed in place of the text: one line."""


_UNITS: Final = {"d": DAY, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
# One blank may stand between two parts.
_DURATION = "(?=[0-9])" + "".join(f"(?:([0-9]{{1,7}}){unit}(?: (?=[0-9]))?)?" for unit in _UNITS)
_ISO_8601 = (
    "P(?=[0-9T])(?:([0-9]{1,7})D)?"
    "(?:T(?=[0-9])(?:([0-9]{1,7})H)?(?:([0-9]{1,7})M)?(?:([0-9]{1,7})S)?)?"
)


def duration(text: str) -> float:
    """A duration: `90s`, `5m`, `1h30m`, `1h 30m`, `500ms` or `PT5M`.

    Gives seconds.
    """
    match = re.fullmatch(_ISO_8601, text) or re.fullmatch(_DURATION, text)
    if match is None:
        hint = f"; a number needs its unit: `{text}s`" if re.fullmatch("[0-9]{1,7}", text) else ""
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


_RATE = "([1-9][0-9]{0,6})/([smhd])"


def rate(text: str) -> RateLimit:
    """Calls per time: `5/s`, `20/m`, `100/h` or `500/d`."""
    match = re.fullmatch(_RATE, text)
    if match is None:
        hint = f": `{text}/h`" if re.fullmatch(r"[0-9]{1,7}", text) else ""
        raise UnreadableError(f"calls per time, such as `5/s`, `20/m`, `100/h` or `500/d`{hint}")
    return RateLimit(int(match[1]), _UNITS[match[2]])


_NUMBER = r"-?(?:0|[1-9][0-9]{0,63})(?:\.[0-9]{1,64})?(?:[eE][+-]?[0-9]{1,3})?"


def number(text: str) -> Decimal:
    """A number as JSON writes it: `1000`, `-0.5` or `1e6`. It is exact."""
    if not re.fullmatch(_NUMBER, text):
        raise UnreadableError("a number as JSON writes it, such as `1000`, `-0.5` or `1e6`")
    return Decimal(text)


def scalar(text: str) -> str:
    """A text, a number, `true` or `false`; this is the text."""
    return text


# What prints; and without the blank, which may not stand first or last. The few code points more
# that do not print only the readers know.
_SHOWN, _INK = r"[^\x00-\x1f\x7f-\xa0]", r"[^\x00-\x20\x7f-\xa0]"
_TRIMMED = f"{_INK}(?:{_SHOWN}*{_INK})?"
_GLOB = rf"(?!!)(?![\s\S]*[\[\]{{}}\\]){_TRIMMED}"


def glob(text: str) -> str:
    """A whole name, with `*` for any run and `?` for one character, and no other wildcard.

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


_IN_URL = r"[!$-;=?-\[\]_a-z~]"
_URL = rf"[Hh][Tt][Tt][Pp][Ss]?://(?![^/?]*@)(?=[A-Za-z0-9_\[-]){_IN_URL}+"


def url(text: str) -> str:
    """An absolute http or https URL without user and fragment.

    Kept as text.
    """
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


# Nothing that a server could resolve to another path than the one that is written.
_ENDPOINT = (
    r"(?![^?]*(?://|/\.{1,2}(?:/|\?|$)|%2[eEfF]|%5[cC]|%00))"
    r"/[!$-;=@-\[\]_a-z~]*(?:\?[!$-;=?-\[\]_a-z~]*)?"
)


def endpoint(text: str) -> str:
    """A path at the server, such as `/v1/mcp`, with its query if it has one."""
    if not re.fullmatch(_ENDPOINT, text):
        raise UnreadableError(
            "a path such as `/v1/mcp`, in printable ASCII, without `//`, dot segments, encoded "
            "separators and fragment"
        )
    return text


_FIELD_NAME = "[A-Za-z0-9!#$%&'*+.^_`|~-]+"
# What describes the hop, the message or the protocol is not the configuration's to set: a fixed
# Mcp-Name or Content-Length would tell another story than the body.
_NOT_OURS = (
    "connection|keep-alive|proxy-.*|te|trailers?|transfer-encoding|upgrade|host|content-.*|accept"
    "|accept-encoding|expect|mcp-.*|last-event-id|x-http-method-override"
)
# Without a flag, which JSON Schema has none of.
_IN_ANY_CASE = re.sub("[a-z]", lambda letter: f"[{letter[0].upper()}{letter[0]}]", _NOT_OURS)


def header_name(text: str) -> str:
    """A header's name, by RFC 9110, section 5.1, that may be set from here."""
    if not re.fullmatch(_FIELD_NAME, text):
        raise UnreadableError("a header's name such as `Authorization`")
    if re.fullmatch(_IN_ANY_CASE, text):
        raise UnreadableError(
            "a header's name that is not hop-by-hop, Host, Accept, Content-*, Proxy-* or Mcp-*"
        )
    return text


GATED_METHODS: Final = frozenset({
    "tools/call", "prompts/get", "resources/read", "resources/subscribe",
    "subscriptions/listen", "completion/complete",
})  # fmt: skip
_METHOD = "[A-Za-z0-9_$.-]+(?:/[A-Za-z0-9_$.-]+)*"


def method(text: str) -> str:
    """A JSON-RPC method's exact name; none that is gated."""
    if not re.fullmatch(_METHOD, text):
        raise UnreadableError("a method's exact name such as `vendor/doThing`")
    if text in GATED_METHODS:
        raise UnreadableError("a method that is not gated: rules decide about this one")
    return text


def path(text: str) -> str:
    """A file's path, absolute or from this file's folder."""
    if not text or not text.isprintable():
        raise UnreadableError("a file's path, absolute or from this file's folder")
    return text


def field_path(text: str) -> str:
    """Dotted keys into a call's arguments: `card.number`."""
    if not text.isprintable() or not all(text.split(".")):
        raise UnreadableError("dotted keys into the arguments such as `card.number`")
    return text


def name(text: str) -> str:
    """Who may decide: for Slack a user id `U...`, a group id `S...` or an e-mail address.

    Which forms are allowed depends on the workflow's adapter (`workflows`).
    """
    if not text.isprintable() or not text.strip() or text != text.strip():
        raise UnreadableError("a name without surrounding blanks")
    return text


@dataclass(frozen=True, slots=True)
class ScalarReader:
    """A reader, and the pattern that every text it reads matches as a whole (and few others)."""

    read: Callable[[str], object]
    pattern: str

    @property
    def about(self) -> str:
        """What its texts are: the reader's own first words."""
        return " ".join((self.read.__doc__ or "").split("\n\n")[0].split())


def _matching(pattern: str, about: str, allowed: str) -> ScalarReader:
    """The reader of texts that are kept as they are, and need no more than to match `pattern`."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise UnreadableError(allowed)
        return text

    read.__doc__ = about
    return ScalarReader(read, pattern)


READERS: Final = {
    "id": _matching(
        "[A-Za-z0-9-][A-Za-z0-9._-]{0,62}",
        "The id of a source or workflow; it stands in paths and file names.",
        "1 to 63 of the characters `A-Z a-z 0-9 . _ -`, the first not `.` or `_`",
    ),
    "url": ScalarReader(url, _URL),
    "endpoint": ScalarReader(endpoint, _ENDPOINT),
    "glob": ScalarReader(glob, _GLOB),
    "method": ScalarReader(method, f"(?!(?:{'|'.join(sorted(GATED_METHODS))})$){_METHOD}"),
    "header name": ScalarReader(header_name, f"(?!(?:{_IN_ANY_CASE})$){_FIELD_NAME}"),
    "header value": _matching(
        r"[\t -~]*",
        "A header's value, by RFC 9110, section 5.5, in ASCII; may be empty or end with a blank.",
        "printable ASCII without line ends",
    ),
    "variable": _matching(
        "[A-Za-z_][A-Za-z0-9_]*",
        "An environment variable's name.",
        "a variable's name such as `UPSTREAM_FIELD_NAME`",
    ),
    "path": ScalarReader(path, f"{_SHOWN}+"),
    "field path": ScalarReader(field_path, rf"(?!\.)(?![\s\S]*\.(?:\.|$)){_SHOWN}+"),
    "name": ScalarReader(name, _TRIMMED),
    "channel": _matching(
        r"#[^\s#@,:<>&]{1,80}|[CDG][A-Z0-9]{2,20}",
        "A Slack channel, `#name` or its id.",
        'a channel such as `"#approvals"` or its id `C0123456789`',
    ),
    "mention": _matching(
        "[UWS][A-Z0-9]{2,20}|here|channel",
        "Whom a Slack message calls: a user's or user group's id, `here` or `channel`.",
        "a user id `U...`, a user group's id `S...`, `here` or `channel`",
    ),
    "duration": ScalarReader(duration, f"{_ISO_8601}|{_DURATION}"),
    "rate": ScalarReader(rate, _RATE),
    "number": ScalarReader(number, _NUMBER),
    "scalar": ScalarReader(scalar, r"[\s\S]*"),
}
