"""Real readers of URIs against the gate: whoever reads a denied resource was refused it."""

# ruff: noqa: E501  a table is read row by row

import json
import os
import posixpath
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AnyUrl, ValidationError

from thoughtgate_proxy.core.config.values import Action, Defaults, Governance, Kind, Rule
from thoughtgate_proxy.core.policy.rules import Conflict, Rules
from thoughtgate_proxy.core.protocol import uri as uris
from thoughtgate_proxy.core.protocol.uri import readings

DENIED = ("docs://private/", "file:///private/", "http://private/", "x:/private/", "urn:private/")
RULES = Rules(
    Governance(
        defaults=Defaults(action=Action.FORWARD),
        rules=tuple(Rule(match=f"{start}*", action=Action.DENY) for start in DENIED),
    ),
    "s",
)
NODE = """
const lines = require('fs').readFileSync(0, 'utf8').split('\\n').slice(0, -1);
const decoded = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
for (const line of lines) {
  const uri = JSON.parse(line), found = [uri, decoded(uri)];
  try { const url = new URL(uri); found.push(url.href, decoded(url.href)); } catch {}
  console.log(JSON.stringify(found));
}
"""


def goes_on(uri: str) -> bool:
    if uri != uri.strip():
        return False  # refused before the rules are asked
    matching = RULES.matching(Kind.RESOURCE, uri)
    return not isinstance(matching, Conflict) and matching[0].action is Action.FORWARD


def template(uri: str) -> str | None:
    """As FastMCP matches `docs://{path*}`: by an expression, each variable decoded."""
    match = re.fullmatch(r"docs://(?P<path>.+)", uri.split("?", maxsplit=1)[0])
    return f"docs://{unquote(match['path'])}" if match else None


def files(uri: str) -> str | None:
    """A file server: the path is decoded, then walked."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return "file://" + posixpath.normpath("/" + unquote(parts.path).lstrip("/"))
    return None


def walks(uri: str) -> str | None:
    """The scheme is cut off, and all the rest is a path below some folder.

    Where it begins with a slash the folder is the root: `docs:///x` is another name than `docs://x`.
    """
    scheme, slashes, rest = uri.partition("://")
    path = unquote(rest).replace("\\", "/")
    if not slashes or scheme != "docs" or path.startswith("/"):
        return None
    return f"docs://{posixpath.normpath('/' + path)[1:]}"


def pydantic(uri: str) -> str | None:
    """As the Python SDK 1.x reads each URI before any handler sees it."""
    try:
        return str(AnyUrl(uri))
    except ValidationError:
        return None


READERS: tuple[Callable[[str], str | None], ...] = (template, files, walks, pydantic)


def read_by_servers(uri: str) -> Iterator[str]:
    for one in READERS:
        try:
            first = one(uri)
            if first is not None:
                yield first
                # A parser in front, another one behind it.
                for other in READERS:
                    if (second := other(first)) is not None:
                        yield second
        except ValueError:  # what Python's own parser refuses
            continue


PIECES = [
    "docs", "file", "http", "x", "urn", "private", "public", "key", "p", "P", "rivate", ":", "://",
    ":/", "/", "//", "\\", "..", ".", "/../", "/./", "%", "%2F", "%2f", "%5C", "%2e", "%2E", "%70",
    "%50", "%25", "%2570", "%252F", "%252e", "%00", "%09", "%20", " ", "?", "#", "@", ":80", "ｐ",
    "localhost", "a", "%C3%BC", "ü", "docs://private/key", "docs://", "file:///", "http://private/",
]  # fmt: skip
URIS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)


def check(uri: str, read: str) -> None:
    if read.startswith(DENIED) and goes_on(uri):
        pytest.fail(f"{uri!a} goes on, and a server reads {read!a}")


@pytest.mark.parametrize(
    "uri",
    [
        "docs://private%2Fkey", "docs://private%2fkey", "docs://p%72ivate%2Fkey",
        "docs://private%252Fkey", "%20docs://private/key", "docs://x/../private%2Fkey", "docs://PRIVATE%2Fkey",
        "docs://private%5Ckey", "DOCS://private/key", "docs://p%2572ivate/key", "docs:%2F%2Fprivate/key",
        "docs%3A//private/key", "docs://private%09/key", "http:\\\\private\\x", "http:private/x",
        "HTTP://private:80/x", "http://ｐrivate/x", "http://%70rivate/x", "http:////private/x",
        "file:///private%5Cx", "docs://private:/x", "docs://a/..//private/x", "x:/%70rivate/key", "urn:p%72ivate/key", "file://localhost/private/x", "file:///a/..%2Fprivate/x",
    ],
)  # fmt: skip
def test_another_spelling_of_a_denied_resource_is_refused(uri: str) -> None:
    assert not goes_on(uri)


@pytest.mark.parametrize(
    "uri",
    ["docs://public/key", "file:///a%20b", "http://public/?next=http://private/", "urn:isbn:1", "x:/a/../b"],
)  # fmt: skip
def test_what_nobody_reads_as_denied_goes_on(uri: str) -> None:
    assert goes_on(uri)


def test_an_address_has_one_form() -> None:
    for host in ("127.0.0.1", "0x7f.1", "2130706433", "017700000001", "127.1", "0x7f000001."):
        assert "http://127.0.0.1/x" in readings(f"http://{host}/x"), host
    for host in ("1.2.3.4.5", "256.1", "08", "127.0.0.256", "a.1", "1..1"):
        assert not any("http://1" in form and form.endswith(".0.1/") for form in readings(host))


@settings(max_examples=2000)
@given(URIS)
def test_whoever_reads_a_denied_resource_was_refused_it(uri: str) -> None:
    for read in read_by_servers(uri):
        check(uri, read)


@settings(max_examples=500)
@given(st.text("ab.:/@-_!", max_size=12).map(lambda rest: "x:" + rest) | URIS)
def test_a_uri_that_looks_plain_has_one_reading(uri: str) -> None:
    if uris._PLAIN.fullmatch(uri):
        assert set(uris._readings(uri)) == {uri}


def node_reads(some: list[str]) -> list[list[str]]:
    text = "".join(json.dumps(uri) + "\n" for uri in some)
    ran = subprocess.run(
        ["node", "-e", NODE], input=text, capture_output=True, text=True, check=True, timeout=300
    )
    return [json.loads(line) for line in ran.stdout.splitlines()]


def made(count: int, seed: int) -> list[str]:
    chosen = random.Random(seed)  # noqa: S311  for tests
    return ["".join(chosen.choices(PIECES, k=chosen.randint(1, 8))) for _ in range(count)]


needs_node = pytest.mark.skipif(
    not any((Path(folder) / "node").exists() for folder in os.get_exec_path()),
    reason="JavaScript's reading needs node",
)


@needs_node
def test_whoever_reads_in_javascript_was_refused_it_too() -> None:
    some = made(3000, 1)
    for uri, forms in zip(some, node_reads(some), strict=True):
        for read in forms:
            check(uri, read)


@needs_node
@pytest.mark.long
def test_a_million_uris() -> None:
    differing: dict[str, Any] = {}
    for seed in range(20):
        some = made(50_000, 1000 + seed)
        for uri, forms in zip(some, node_reads(some), strict=True):
            if not goes_on(uri):
                continue
            for read in (*forms, *read_by_servers(uri)):
                if read.startswith(DENIED):
                    differing[uri] = read
    print(f"uris: 1,000,000 inputs, {len(differing)} differences")
    assert not differing
