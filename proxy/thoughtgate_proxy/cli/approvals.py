"""`thoughtgate-proxy approvals`: the approvals page's API from a shell.

What comes from the pod may be an agent's words: it is printed with every character that could move
the cursor, reverse text or hide written out as an escape.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from thoughtgate_proxy.core import safe_text

DEFAULT_URL: Final = "http://localhost:7468"
DONE, REFUSED, UNREACHABLE = 0, 1, 3
_SECONDS = 30.0
_SHORTEST_PREFIX = 6
_PREFIX = 11
_LOCAL = ("localhost", "127.0.0.1", "::1")

_DONE_WORDS = {"approve": "approved", "reject": "rejected"}

Json = dict[str, Any]


class Failed(Exception):
    """What was asked is not done; the message is one line, `code` the exit code."""

    def __init__(self, reason: str, code: int = REFUSED) -> None:
        super().__init__(reason)
        self.code = code


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--url", type=_url, default=DEFAULT_URL, metavar="URL",
        help=f"where the pod's port 7468 is forwarded to (default: {DEFAULT_URL})",
    )  # fmt: skip
    common.add_argument(
        "--token-file", required=True, metavar="FILE",
        help="your approver's token, alone; - for standard input",
    )  # fmt: skip
    common.add_argument("--json", action="store_true", help="print what the API answers")
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    listing = commands.add_parser("list", parents=[common], help="what waits for a decision")
    listing.add_argument("--all", action="store_true", help="and what ended lately")
    for name, help_text in (
        ("show", "one request, with the whole call"),
        ("approve", "let the call go"),
        ("reject", "refuse the call"),
    ):
        command = commands.add_parser(name, parents=[common], help=help_text)
        command.add_argument("id", metavar="ID", help="the request's id, or the start of it")
        command.set_defaults(reason="")
        if name == "reject":
            command.add_argument("--reason", help="the agent reads it")


def _url(text: str) -> str:
    parts = urlsplit(text)
    try:
        good = parts.scheme == "http" and parts.hostname in _LOCAL and (parts.port or 80) > 0
    except ValueError:
        good = False
    if not good or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        # The token is sent there, so nowhere but through a port-forward.
        raise argparse.ArgumentTypeError("allowed is `http://localhost:PORT` of a port-forward")
    return text


def run(options: argparse.Namespace) -> int:
    """Do what the options say; gives the exit code: 0 done, 1 refused, 3 nobody there."""
    try:
        page = _Page(options.url, _token(options.token_file))
        _COMMANDS[options.what](page, options)
    except Failed as failed:
        print(safe_text.text(str(failed)), file=sys.stderr)
        return failed.code
    except (LookupError, TypeError, ValueError, AttributeError):
        print("what answers there is no approvals page of this version", file=sys.stderr)
        return UNREACHABLE
    except BrokenPipeError:  # a pager that was left
        sys.stderr.close()
    return DONE


def _token(file: str) -> str:
    try:
        text = sys.stdin.read(1 << 12) if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Failed(f"--token-file: `{file}`: {reason}") from error
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Failed(f"--token-file: `{file}`: allowed is one token, and nothing else")
    return token


class _Page:
    """The API of one pod."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._token = token

    def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        """One request. Raises `Failed`."""
        # Only now: `--help` and mistakes need no network.
        import http.client  # noqa: PLC0415

        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_SECONDS)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, f"/api/v1/{path}", text, headers)
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            place = f"{self._host}:{self._port}"
            hint = "is `kubectl port-forward POD 7468` running?"
            raise Failed(f"no approvals page at {place}: {reason}; {hint}", UNREACHABLE) from error
        finally:
            connection.close()
        if reply.status >= 400:
            raise Failed(_reason(answer))
        if not isinstance(answer, dict):
            raise Failed("the page answered with something else than an object", UNREACHABLE)
        return answer

    def find(self, start: str, *, ended: bool) -> Json:
        """The one request whose id begins so, in full; `ended` ones count too. Raises `Failed`."""
        listing = self.ask("GET", "approvals")
        items = listing["pending"] + (listing["recent"] if ended else [])
        ids = [item["id"] for item in items if item["id"].startswith(start)]
        if start in ids:
            ids = [start]
        if len(start) < _SHORTEST_PREFIX:
            raise Failed(f"`{start}`: give at least {_SHORTEST_PREFIX} characters of the id")
        if len(ids) > 1:
            raise Failed(f"`{start}` begins {len(ids)} ids: {', '.join(ids)}")
        if not ids:
            raise Failed(f"no request `{start}`{'' if ended else ' waits for a decision'}")
        return self.ask("GET", f"approvals/{quote(ids[0], safe='')}")


def _reason(answer: object) -> str:
    match answer:
        case {"error": {"message": str(message)}}:
            return message
        case _:
            return "the page refused, without words"


def _list(page: _Page, options: argparse.Namespace) -> None:
    listing = page.ask("GET", "approvals")
    if options.json:
        _print_json(listing if options.all else {**listing, "recent": []})
        return
    items = listing["pending"] + (listing["recent"] if options.all else [])
    if not items:
        print("nothing waits for a decision")
        return
    length = _unambiguous([item["id"] for item in items])
    rows = [("ID", "STATE", "LEFT", "APPROVALS", "SOURCE", "NAME")]
    rows += [
        (
            item["id"][:length],
            item["state"],
            _left(item, listing["now"]),
            f"{_given(item)} of {item['required']}",
            item["source"],
            item["name"],
        )
        for item in items
    ]
    safe = [tuple(safe_text.text(str(cell)) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in safe) for column in range(len(rows[0]))]
    for row in safe:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())


def _unambiguous(ids: Sequence[str]) -> int:
    """How many characters tell these ids apart."""
    length = _PREFIX
    while length < max(map(len, ids)) and len({id[:length] for id in ids}) < len(set(ids)):
        length += 1
    return length


def _given(item: Json) -> int:
    return sum(vote["verdict"] == "approve" for vote in item["votes"])


def _left(item: Json, now: float) -> str:
    if item["deadline"] is None:
        return "-"
    seconds = max(0, int(item["deadline"] - now))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s"


def _show(page: _Page, options: argparse.Namespace) -> None:
    item = page.find(options.id, ended=True)
    if options.json:
        _print_json(item)
        return
    facts = [
        ("request", item["id"]),
        ("state", item["state"]),
        ("left", _left(item, item["now"])),
        ("approvals", f"{_given(item)} of {item['required']}"),
        *(("vote", _vote_line(vote)) for vote in item["votes"]),
        ("outcome", item["outcome"]),
        ("principal", item["principal"]),
        ("namespace", item["namespace"]),
        ("pod", item["pod"]),
        ("source", item["source"]),
        ("method", item["method"]),
        ("name", item["name"]),
        ("why", item["why"]),
        ("workflow", item["workflow"]),
        ("policies", ", ".join(item["policies"])),
        ("correlation", item["correlation_id"]),
        ("digest", item["digest"]),
        ("you", item["may_not"] or f"may {' or '.join(item['may']) or 'not change it any more'}"),
    ]
    for name, value in facts:
        if value:
            print(f"{name + ':':<13}{safe_text.text(str(value))}")
    _print_lines("the server claims:", item["description"] or "")
    _print_lines("arguments:", item["arguments"] or "(none)")
    if item["redacted"]:
        paths = ", ".join(map(str, item["redacted"]))
        print(f"redacted, and sent all the same: {safe_text.text(paths)}")
    _print_lines("also sent with the call:", item["others"])


def _vote_line(vote: Json) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(vote["at"]))
    done = _DONE_WORDS[vote["verdict"]]
    return f"{vote['name']} {done} at {at}" + (f": {vote['reason']}" if vote["reason"] else "")


def _print_lines(title: str, text: str) -> None:
    """Lines of somebody's words, each with a mark before it, so that none can look like ours."""
    if not text:
        return
    print(title)
    for line in text.split("\n"):
        print(f"  | {safe_text.text(line)}")


def _vote(page: _Page, options: argparse.Namespace) -> None:
    seen = page.find(options.id, ended=False)
    body = {"verdict": options.what, "digest": seen["digest"], "reason": options.reason}
    item = page.ask("POST", f"approvals/{quote(seen['id'], safe='')}/votes", body)
    if options.json:
        _print_json(item)
        return
    more = f"; {item['missing']} more must approve" if item["missing"] else ""
    name, id = safe_text.text(item["name"]), safe_text.text(item["id"])
    print(f"{_DONE_WORDS[options.what]} {name} ({id}){more}")


def _print_json(value: Json) -> None:
    # ASCII, so that nothing in it moves a cursor.
    print(json.dumps(value, indent=2))


_COMMANDS: Final[Mapping[str, Callable[[_Page, argparse.Namespace], None]]] = {
    "list": _list,
    "show": _show,
    "approve": _vote,
    "reject": _vote,
}
