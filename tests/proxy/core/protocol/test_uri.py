"""A resource's URI, and every form in which a server could come to read it."""

import re
import time
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_proxy.core.protocol.uri import normalised, readings, walked


@pytest.mark.parametrize(
    ("uri", "normal"),
    [
        # RFC 3986, section 6.2.2.
        ("eXAMPLE://a/./b/../b/%63/%7bfoo%7d", "example://a/b/c/%7Bfoo%7D"),
        ("HTTP://User@EXAMPLE.com/%7Euser", "http://User@example.com/~user"),
        ("http://%45xample/", "http://example/"),
        ("http://a?b%3d", "http://a?b%3D"),
        ("http://a#%2d", "http://a#-"),
        ("http://A:/b", "http://a/b"),
        # Section 5.2.4 and 5.4.2.
        ("x:/a/b/c/./../../g", "x:/a/g"),
        ("x:/a/b/../../../g", "x:/g"),
        ("x:/a/.", "x:/a/"),
        ("x:/a/..", "x:/"),
        ("x:/..", "x:/"),
        ("x:/a/g.", "x:/a/g."),
        ("x:/a/..g", "x:/a/..g"),
        ("x:/a//../b", "x:/a/b"),
        ("x:/a/%2e%2e/b", "x:/b"),
        # Paths without a leading slash.
        ("file:public/../secret", "file:secret"),
        ("urn:a:b", "urn:a:b"),
        ("a/../b", "b"),
        ("../b", "b"),
        # What is not an unreserved character keeps its escape, and what is no escape stays.
        ("x:%2F%2f%25", "x:%2F%2F%25"),
        ("x:%", "x:%"),
        ("x:%zz", "x:%zz"),
        ("", ""),
        ("x", "x"),
        ("x:/ü", "x:/ü"),
    ],
)
def test_the_normal_form_is_that_of_the_rfc(uri: str, normal: str) -> None:
    assert normalised(uri) == normal


@settings(max_examples=200)
@given(st.text("aB%2eE~./:?#@", max_size=14))
def test_the_normal_form_has_no_dot_segments_and_no_needless_escapes(rest: str) -> None:
    uri = f"x:/{rest.lstrip('/')}"
    normal = normalised(uri)
    path = re.split(r"[?#]", normal)[0]
    assert not {".", ".."} & set(path.split("/")[1:])
    assert len(normal) <= len(uri)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["a", "B", ".", "..", "é", " ", "%"]), max_size=6), st.booleans())
def test_an_escaped_path_has_the_normal_form_of_the_path(parts: list[str], all_of_it: bool) -> None:
    path = "/".join(parts)
    escaped = "".join(f"%{byte:02x}" for byte in path.encode()) if all_of_it else quote(path)
    if all_of_it:
        escaped = escaped.replace("%2f", "/")
    assert normalised(f"x://h/{escaped}") == normalised(f"x://h/{quote(path)}")


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///public/..%2Fsecret/x", "file:///secret/x"),
        ("file:///public/%2e%2e%2fsecret/x", "file:///secret/x"),
        ("file:///public/%252e%252e%252fsecret/x", "file:///secret/x"),
        ("file:///public\\..\\secret/x", "file:///secret/x"),
        ("file:///public%5c..%5csecret/x", "file:///secret/x"),
        ("file:///public//../secret/x", "file:///secret/x"),
        ("file:/secret/x", "file:///secret/x"),
        ("file:secret/x", "file:///secret/x"),
        ("FILE:////secret/x", "file:///secret/x"),
        ("file://localhost/secret/x", "file:///secret/x"),
        ("file://LocalHost/secret/x", "file:///secret/x"),
        ("docs://public/../secret/x", "docs://secret/x"),
        ("docs://public/..%2Fsecret/x?q#f", "docs://secret/x?q#f"),
        ("docs://public/../../../x", "docs://x"),
        ("file://public/../secret/", "file://secret/"),
        ("x:a/../b", "x:b"),
        ("/a/../b", "/b"),
        ("a/../b", "b"),
        ("x:/a\\b", "x:/a/b"),
        ("x:/a//b", "x:/a/b"),
        ("x:/a%2F%2Fb/", "x:/a/b/"),
        ("docs://a//b\\", "docs://a/b/"),
        ("fetch://https://h//a", "fetch://https://h/a"),
    ],
)
def test_a_uri_is_also_read_as_the_path_that_a_file_server_walks(uri: str, path: str) -> None:
    assert walked(uri) == path
    assert path in readings(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///secret/x", "file://server/share/x", "repo://owner%2Fname/file", "docs://a/b.c/...d",
        "fetch://https://example.com/x", "data:text/plain,a..b", "urn:isbn:1", "memo:///a",
        "x:..a/b", "https://example.com/?next=../a", "mem://a#../b", "", "plain", "50%",
    ],
)  # fmt: skip
def test_a_uri_without_steps_is_read_as_it_stands(uri: str) -> None:
    assert walked(uri) == uri


def test_the_first_reading_is_what_is_written() -> None:
    assert readings("file:///a") == ("file:///a",)
    assert readings("A:/b/../c") == ("A:/b/../c", "a:/c")


@pytest.mark.parametrize("part", ["/..", "/a", "%", "%25", "%2e", "../", "\\", ":", "//", "?", "@"])
def test_a_uri_made_to_be_slow_is_read_in_a_moment(part: str) -> None:
    uri = ("x:" + part * 8192)[:8192]
    begun = time.process_time()
    readings(uri)
    assert time.process_time() - begun < 0.5


def test_escapes_are_undone_three_times_and_no_more() -> None:
    step = "../"
    for depth in (1, 2, 3, 4):
        step = quote(step, safe="").replace(".", "%2E")
        uri = f"docs://public/{step}secret"
        assert walked(uri) == (uri if depth > 3 else "docs://secret"), depth
