"""A request target means one source, and one path at its server."""

# ruff: noqa: E501  a table is read row by row

import pytest

from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.protocol.http import HttpRefused
from thoughtgate_proxy.core.protocol.routing import route, well_known

BARE = Source(id="a", url="http://a:3000")
SLASH = Source(id="slash", url="http://a:3000/")
PATH = Source(id="b", url="http://b/mcp/v1?tenant=x")


@pytest.mark.parametrize("target", ["/", "/mcp", "/a/b?c=d&e", "/x?y=/../z", "/mcp/", "/%20"])
def test_one_source_answers_at_every_path(target: str) -> None:
    assert (route(target, [BARE]).source, route(target, [BARE]).target) == (BARE, target)


@pytest.mark.parametrize(
    ("source", "target"), [(PATH, "/mcp/v1?tenant=x"), (SLASH, "/")], ids=["path", "slash"]
)
def test_a_path_in_the_url_is_used_as_it_stands(source: Source, target: str) -> None:
    for asked in ("/", "/other", "/other?x=y"):
        assert route(asked, [source]).target == target


@pytest.mark.parametrize(
    ("target", "source", "upstream"),
    [
        ("/a", BARE, "/"), ("/a/", BARE, "/"), ("/a/mcp?x=1", BARE, "/mcp?x=1"), ("/a?x", BARE, "/?x"),
        ("/b", PATH, "/mcp/v1?tenant=x"), ("/b/a/c", PATH, "/mcp/v1?tenant=x"),
    ],
)  # fmt: skip
def test_several_sources_answer_each_under_its_id(
    target: str, source: Source, upstream: str
) -> None:
    found = route(target, [BARE, PATH])
    assert (found.source, found.target) == (source, upstream)


@pytest.mark.parametrize("target", ["/", "/c", "/A/x", "/ab", "/mcp/a", "/%61/x", "/a%2fx"])
def test_elsewhere_the_ids_are_told(target: str) -> None:
    with pytest.raises(HttpRefused) as refused:
        route(target, [BARE, PATH])
    assert refused.value.status in (400, 404)
    if refused.value.status == 404:
        assert "`/a`, `/b`" in refused.value.reason


@pytest.mark.parametrize(
    "target",
    ["//evil", "/a//b", "/../b", "/a/..", "/a/./b", "/.", "/%2e%2e/b", "/a%2Fb", "/a\\b", "/a%5cb",
     "/a%00", "http://evil/x", "*", "", "a", "/a b", "/\xe9", "/a\r\nx: y", "/a#b", "/a\0", "/a\x7f",
     "/?x y", "/x?#"],
)  # fmt: skip
def test_a_target_that_could_mean_another_path_is_refused(target: str) -> None:
    for sources in ([BARE], [BARE, PATH], [PATH]):
        with pytest.raises(HttpRefused) as refused:
            route(target, sources)
        assert refused.value.status == 400


@pytest.mark.parametrize(
    "target",
    ["/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server/mcp/v1",
     "/.well-known/openid-configuration", "/.well-known/oauth-protected-resource/mcp?x=1"],
)  # fmt: skip
def test_authorization_metadata_is_asked_at_the_servers_origin(target: str) -> None:
    found = well_known(target, [PATH])
    assert found is not None
    assert found.target == target


@pytest.mark.parametrize(
    "target",
    ["/.well-known/", "/.well-known/oauth", "/.well-known/security.txt", "/x/.well-known/oauth-x",
     "/.well-known/oauth-x%41", "/.well-known/oauth-x;y", "/.well-known/oauth-%78",
     "/.WELL-KNOWN/oauth-x"],
)  # fmt: skip
def test_nothing_else_is(target: str) -> None:
    assert well_known(target, [PATH]) is None


@pytest.mark.parametrize(
    "target", ["/.well-known/oauth-x/../../mcp", "/.well-known/oauth-x/%2e%2e/a"]
)
def test_metadata_is_no_way_to_another_path(target: str) -> None:
    with pytest.raises(HttpRefused):
        well_known(target, [PATH])


def test_of_several_sources_none_owns_the_origin() -> None:
    assert well_known("/.well-known/oauth-protected-resource", [BARE, PATH]) is None
